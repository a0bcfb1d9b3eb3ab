"""What a command hands its caller: lines on standard output."""

import sys
from collections.abc import Iterable
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
