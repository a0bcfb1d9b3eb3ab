"""Readers of JSON documents: each checks a value found at a key, and raises :class:`Malformed`.

They are plain Python, since a gate must not wait for pydantic. Keys that no reader names may hold anything: a newer
edgekd may have added them.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.formatting import exceeds

LARGEST = 2**63 - 1  # of a count


class Malformed(EdgekdError):
    """A report or a baseline holds an impossible value at ``key``."""

    def __init__(self, key: str, says: str, source: object = ""):
        self.key, self.says = key, says
        whole = f"{source}: {key or 'document'}: {says}; give a file as edgekd wrote it, or run the recipe again"
        super().__init__(" ".join(whole.split()))


# Checks a value found at a key, and raises Malformed.
Reader = Callable[[Any, str], None]


def number(least: float = -math.inf, most: float = math.inf, above: float = -math.inf) -> Reader:
    """Return the reader of a finite number within bounds."""

    def read(value: Any, key: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Malformed(key, f"{brief(value)} is no number")
        if (isinstance(value, int) and abs(value) > LARGEST) or not math.isfinite(value):
            raise Malformed(key, f"{brief(value)} is no finite number")
        if not least <= value <= most or value <= above:
            raise Malformed(key, f"{brief(value)} is not {_bounds(least, most, above)}")

    return read


def count(value: Any, key: str) -> None:
    """Check a whole number of at least 0."""
    number(0, LARGEST)(value, key)
    if not isinstance(value, int):
        raise Malformed(key, f"{brief(value)} is no whole number")


def text(value: Any, key: str) -> None:
    """Check a text that UTF-8 can hold."""
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Malformed(key, f"{brief(value)} is no text")


def path(value: Any, key: str) -> None:
    """Check the path of a file."""
    text(value, key)
    if not value or not value.isprintable():
        raise Malformed(key, f"{brief(value)} is no path")


def one_of(*words: str) -> Reader:
    """Return the reader of one of ``words``."""

    def read(value: Any, key: str) -> None:
        text(value, key)
        if value not in words:
            raise Malformed(key, f"{brief(value)} is none of {', '.join(words)}")

    return read


def flag(value: Any, key: str) -> None:
    if not isinstance(value, bool):
        raise Malformed(key, f"{brief(value)} is neither true nor false")


def sha256(value: Any, key: str) -> None:
    text(value, key)
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise Malformed(key, f"{brief(value)} is no SHA-256 of 64 hexadecimal digits")


def interval(end: Reader) -> Reader:
    """Return the reader of two ends, the lower one first."""

    def read(value: Any, key: str) -> None:
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
            raise Malformed(key, f"{brief(value)} is no pair of a lower and an upper end")
        for place, each in enumerate(value):
            end(each, f"{key}.{place}")
        if value[0] > value[1]:
            raise Malformed(key, f"the lower end {value[0]} is above the upper end {value[1]}")

    return read


def several(each: Reader) -> Reader:
    """Return the reader of a list whose items ``each`` reads."""

    def read(value: Any, key: str) -> None:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise Malformed(key, f"{brief(value)} is no list")
        for place, one in enumerate(value):
            each(one, under(key, place))

    return read


def named(each: Reader) -> Reader:
    """Return the reader of a table of any names, whose values ``each`` reads."""

    def read(value: Any, key: str) -> None:
        if not isinstance(value, Mapping):
            raise Malformed(key, f"{brief(value)} is no table")
        for name, one in value.items():
            text(name, key)
            each(one, under(key, name))

    return read


def table(fields: Mapping[str, Reader], required: Sequence[str] = (), then: Reader | None = None) -> Reader:
    """Return the reader of a table: ``fields`` that are there are read, and then the whole is, by ``then``."""

    def read(value: Any, key: str) -> None:
        named(anything)(value, key)
        for name in required:
            if value.get(name) is None:
                raise Malformed(under(key, name), "is missing")
        for name, reader in fields.items():
            if value.get(name) is not None:
                reader(value[name], under(key, name))
        if then:
            then(value, key)

    return read


def all_of(readers: Iterable[Reader]) -> Reader:
    """Return the reader that asks each of ``readers`` about one value."""
    every = list(readers)

    def read(value: Any, key: str) -> None:
        for reader in every:
            reader(value, key)

    return read


def anything(value: Any, key: str) -> None:
    """Accept any value."""


def holds(name: str, ends: str) -> Reader:
    """Return the reader of a table whose interval ``ends`` holds the figure ``name``."""

    def read(value: Mapping[str, Any], key: str) -> None:
        figure, within = value.get(name), value.get(ends)
        if figure is not None and within is not None and (exceeds(within[0], figure) or exceeds(figure, within[1])):
            said = f"{name} is {figure}, which its interval {within[0]} to {within[1]} does not hold"
            raise Malformed(under(key, ends), said)

    return read


def under(key: str, name: object) -> str:
    """Return the key of ``name`` within the table at ``key``."""
    shown = brief(name) if isinstance(name, str) and not name.isprintable() else str(name)[:60]
    return f"{key}.{shown}" if key else shown


def brief(value: Any) -> str:
    """Return ``value`` for a message, in one short line."""
    if isinstance(value, Mapping | list | tuple):
        return "a table" if isinstance(value, Mapping) else "a list"
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number beyond all counts"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."


def _bounds(least: float, most: float, above: float) -> str:
    if above > -math.inf:
        return f"above {above:g}"
    return f"at least {least:g}" if most >= LARGEST else f"between {least:g} and {most:g}"
