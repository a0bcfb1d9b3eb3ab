"""Progress bars with the time left: in a terminal, where edgekd's messages are shown; nothing elsewhere."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from edgekd.log import is_shown

T = TypeVar("T")


def is_drawn() -> bool:
    """Return whether bars are drawn: standard error is a terminal, and edgekd's messages are shown."""
    return is_shown() and sys.stderr.isatty()


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Pass ``items`` on, and show how many of ``total`` have passed."""
    if not is_drawn():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(items, total=total, description=what)
