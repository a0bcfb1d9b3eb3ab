"""Progress bars with the time left.

They are shown in a terminal, where edgekd's messages are, and nowhere else.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from edgekd.log import get_logger, is_shown

logger = get_logger(__name__)

T = TypeVar("T")
Done = Callable[[int], None]


def is_drawn() -> bool:
    """Return whether bars are drawn: standard error is a terminal, and edgekd's messages are shown."""
    return is_shown() and sys.stderr.isatty()


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Pass ``items`` on, and show how many of ``total`` have passed."""
    with _bar(what, total) as done:
        yield from counted(items, done)


def counted(items: Iterable[T], done: Done) -> Iterator[T]:
    """Pass ``items`` on, and call ``done`` with the number of those that were used, after each."""
    for number, item in enumerate(items, start=1):
        yield item
        done(number)


@contextmanager
def long_step(what: str, total: int | None = None, unit: str = "") -> Iterator[Done]:
    """Log the begin and the end of a step that takes long, and show how far it is in between.

    Args:
        what: the step, as messages call it.
        total: the number of its parts; None where nothing is known of it before its end.
        unit: what the parts are called.

    Yields:
        A function that is called with the number of parts that are done.
    """
    counts = f": {total} {unit}" if total is not None else ""
    logger.info(f"  {what}{counts}")
    started = time.monotonic()
    with _bar(f"  {what}", total, unit) as done:
        yield done
    logger.info(f"  {what}: done in {time.monotonic() - started:.0f} s")


@contextmanager
def _bar(what: str, total: int | None, unit: str = "") -> Iterator[Done]:
    if not is_drawn():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    known: tuple[Any, ...] = (TaskProgressColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        *(known if total is not None else [TimeElapsedColumn()]),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _ignore(done: int) -> None:
    pass
