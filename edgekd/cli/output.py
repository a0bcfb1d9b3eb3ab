"""What a command hands its caller: lines on standard output."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgekd.log import for_stream
from edgekd.runtime import RUNTIMES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def tell(text: str) -> None:
    """Print lines for people on standard output."""
    sys.stdout.write(for_stream(sys.stdout, text) + "\n")
    sys.stdout.flush()


def open_closed_streams() -> None:
    """Open the standard streams that are closed, to nowhere.

    The next file to be opened would else take the place of one, and get what libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


@contextmanager
def whose_reader_may_leave() -> Iterator[None]:
    """Let the reader of standard output leave in the block, as ``head`` does: the exit code still tells the verdict."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        # rich makes the second of the first.
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            raise
        _discard_output()


def hand_over(code: int) -> int:
    """Write what is left for standard output, and return the exit code: 1 instead of 0 where it cannot be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return code or 1
    except OSError as error:
        _discard_output()
        if code == 0:
            sys.stderr.write(f"error: {not_written(error)}\n")
        return code or 1
    return code


def not_written(error: OSError) -> str:
    """Return the message about standard output that the system does not take, such as on a full disk."""
    return f"standard output cannot be written: {error.strerror}; send it to another place"


def _discard_output() -> None:
    # Python writes what is left when it ends, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_table(console: "Console", table: "Table") -> None:
    """Print a table with its title and its caption as lines of their own: a narrow table would break them."""
    title, caption = table.title, table.caption
    table.title = table.caption = None
    if title:
        console.print(title, soft_wrap=True)
    console.print(table)
    if caption:
        console.print(caption)


def one_of(names: Iterable[str]) -> str:
    """Return ``a, b or c``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def runtime_names() -> str:
    """Return the names of runtimes that ``--runtime`` takes, for a command's help."""
    return one_of(sorted(name for runtime in RUNTIMES.values() for name in runtime.sessions))


def target_names() -> str:
    """Return the profiles that files are written and linted for, for a command's help."""
    return one_of(profile.name for runtime in RUNTIMES.values() for profile in runtime.profiles)
