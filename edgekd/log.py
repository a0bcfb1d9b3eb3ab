"""Logging: edgekd prints nothing by itself, and ``edgekd.cli`` shows the log."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from shutil import get_terminal_size
from typing import TextIO

from edgekd.plain_text import lines, wrapped

PACKAGE = logging.getLogger("edgekd")
# Else logging would print warnings for a program that has not configured it.
PACKAGE.addHandler(logging.NullHandler())


def for_stream(stream: TextIO, text: str) -> str:
    """Return lines for people, escaped, and in a terminal wrapped between words."""
    return wrapped(lines(text), get_terminal_size().columns) if stream.isatty() else lines(text)


class CommandHandler(logging.Handler):
    """Messages as they are, and warnings after that word, on what is standard error at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        text = f"warning: {message}" if record.levelno >= logging.WARNING else message
        sys.stderr.write(for_stream(sys.stderr, text) + "\n")
        sys.stderr.flush()


def get_logger(module: str) -> logging.Logger:
    """Return the logger of ``module``, which is its ``__name__``."""
    return logging.getLogger(module)


def show_logs() -> None:
    """Print what edgekd logs on standard error, as the command does; once is enough, and twice does no harm."""
    if not any(isinstance(handler, CommandHandler) for handler in PACKAGE.handlers):
        PACKAGE.addHandler(CommandHandler())
    PACKAGE.setLevel(logging.INFO)
    # A library that gives the root logger a handler would have each line printed twice.
    PACKAGE.propagate = False


def is_shown() -> bool:
    """Return whether edgekd's messages are asked for, by the command or by the program that uses edgekd."""
    return PACKAGE.isEnabledFor(logging.INFO)


@contextmanager
def without_info(library: str, level: int = logging.INFO) -> Iterator[None]:
    """Keep messages of up to ``level`` of a library's logger off the terminal, for as long as the context lasts."""
    log = logging.getLogger(library)
    before = log.level
    log.setLevel(level + 1)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries print, log and warn off both outputs; what they raise says enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
