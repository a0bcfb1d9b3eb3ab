"""Progress on standard error: a bar with the time left in a terminal, nothing elsewhere."""

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import TypeVar

from edgekd.plain_text import lines

T = TypeVar("T")


def say(line: str) -> None:
    """One line for people, on standard error."""
    sys.stderr.write(lines(line) + "\n")
    sys.stderr.flush()


def tell(text: str) -> None:
    """Lines for people, on standard output."""
    sys.stdout.write(lines(text) + "\n")
    sys.stdout.flush()


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what libraries print, log and warn off both outputs; what they raise says enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


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
