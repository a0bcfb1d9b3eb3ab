"""Untrusted text, escaped for its medium.

Names of operators, labels and files are such text, and output of devices.

Nothing in the result moves a terminal, starts a line, becomes markup, or is taken for a command by a CI server that
reads the output. What cannot be shown is written as Python writes it, such as ``\\x1b``.
"""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

JOINERS = "\u200c\u200d"  # of letters in Persian and Hindi, and of emoji
COMMANDS = (
    *("add-mask", "add-matcher", "remove-matcher", "add-path", "set-env", "set-output", "save-state", "stop-commands"),
    *("debug", "notice", "warning", "error", "group", "endgroup", "echo"),
)
# GitHub's and Azure's runners obey lines that begin with the first, and lines that hold the others.
COMMAND = re.compile(rf":(?=:(?:{'|'.join(COMMANDS)})\b)|#(?=#(?:\[|vso\[))", re.IGNORECASE)
MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&$])")
# Bare addresses become links and names call people, whatever stands before them.
LINKED = re.compile(r"(?i)@(?=\w)|:(?=//)|(?<=\bwww)\.")
QUOTED = re.compile(r"'edgekd [^']*'")
GLUE = "\0"
STARTS = re.compile(r"^([-+](?=\s)|[-=](?=[-=]*$)|\d+(?=[.)](\s|$)))")


def line(text: str) -> str:
    """Return ``text`` as one line for a terminal or a log."""
    if not text.isprintable():
        text = "".join(map(_shown, text))
    return COMMAND.sub(lambda found: f"{found[0]} ", text)


def lines(text: str) -> str:
    """Return ``text``, whose line breaks are meant, for a terminal or a log."""
    return "\n".join(map(line, text.split("\n")))


def wrapped(text: str, width: int) -> str:
    """Return ``text`` in lines of at most ``width`` columns, broken between words; a command in quotes is one word.

    A line goes on two columns to the right of its own beginning.
    """
    return "\n".join(part for each in text.split("\n") for part in _wrapped(each, width))


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    glued = QUOTED.sub(lambda found: found[0].replace(" ", GLUE), text).replace(" %", f"{GLUE}%")
    further = " " * (len(text) - len(text.lstrip()) + 2)
    found = textwrap.wrap(glued, width, subsequent_indent=further, break_long_words=False, break_on_hyphens=False)
    return [each.replace(GLUE, " ") for each in found]


def rich(text: str) -> str:
    """Return ``text`` for one place in what rich prints, where square brackets are markup."""
    from rich.markup import escape

    return escape(line(text))


def markdown(text: str) -> str:
    """Return ``text`` as plain words inside a line or a table's cell of GitHub's Markdown."""
    words = MARKDOWN.sub(r"\\\1", " ".join(line(text).split()))
    return STARTS.sub(_not_a_list, LINKED.sub(lambda found: f"{found[0]}\u200b", words))


def code(text: str) -> str:
    """Return ``text`` as code inside a line of Markdown, with the backticks."""
    shown = " ".join(line(text).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown else f"`{shown}`"


def xml(text: str) -> str:
    """Return ``text`` without the characters that XML cannot hold; its markup is for the writer to escape."""
    return lines(text)


def document(value: Any) -> Any:
    """Return the JSON document ``value`` with every text and key in it as one line, for pages and pictures."""
    if isinstance(value, Mapping):
        return {line(str(key)): document(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [document(each) for each in value]
    return line(value) if isinstance(value, str) else value


def _shown(letter: str) -> str:
    if letter.isspace():
        return " "
    if letter.isprintable() or letter in JOINERS:
        return letter
    return letter.encode("unicode_escape").decode()


def _not_a_list(start: re.Match[str]) -> str:
    return f"\\{start[0]}" if not start[0].isdigit() else f"{start[0]}\u200b"
