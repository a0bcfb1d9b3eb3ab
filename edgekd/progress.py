"""Progress on standard error: a bar with the time left in a terminal, nothing elsewhere."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def say(line: str) -> None:
    """One line for people, on standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Passes ``items`` on and shows how far they are."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=what)
