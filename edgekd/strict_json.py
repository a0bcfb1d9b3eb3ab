"""Untrusted JSON, read within bounds.

Every value can be walked, compared, written and computed with.
"""

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
# A JSON object as it is read or written, before it becomes a record or after.
JsonObject: TypeAlias = dict[str, Any]

DEEPEST = 64
MOST_ITEMS = 4_000_000  # of 8 to 200 bytes each in memory
INT64 = range(-(2**63), 2**63)
DIGITS = 20  # of the longest integer that can be in INT64, with its sign
TEXT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
OTHER_ENCODINGS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


class _NoNumberError(ValueError):
    """A number that cannot be calculated with, as ``written`` in the document."""

    def __init__(self, message: str, written: str):
        super().__init__(message)
        self.written = written


def parse(content: bytes, most_items: int = MOST_ITEMS) -> Any:
    """Parse the JSON document ``content``, of at most ``most_items`` items.

    Raises:
        ValueError: ``content`` is no JSON in UTF-8, is nested deeper than 64 levels, names a key twice, or holds a
            number or a text that cannot be calculated with or written again. The message is one clause.
    """
    if content.startswith(OTHER_ENCODINGS) or b"\0" in content:
        raise ValueError("it is not text in UTF-8")
    must_be_bounded(content, most_items)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} in line {error.lineno}, column {error.colno}") from None
    except _NoNumberError as error:
        raise ValueError(f"{error}, in line {_line_of(error.written, text)}") from None
    if SURROGATE.search(content):
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text in it holds half a character, a lone surrogate") from None
    return document


def must_be_bounded(content: bytes, most_items: int = MOST_ITEMS) -> None:
    """Raise ValueError for what would take far more memory than ``content`` or overflow the stack, before parsing."""
    # Without escapes, every second part between quotes stands outside of texts.
    outside = b"".join(content.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    marks = outside.translate(None, delete=bytes(set(range(256)) - set(b"[]{},")))
    if len(marks) > most_items:
        raise ValueError(f"it holds more than {most_items:,} items")
    depth = 0
    for mark in marks.replace(b",", b""):
        depth += 1 if mark in b"[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:60]!r} stands twice in one object")
    return found


def _int(digits: str) -> int:
    if len(digits) > DIGITS or int(digits) not in INT64:
        raise _NoNumberError(f"the number {digits[:20]}… has more than 64 bits", digits)
    return int(digits)


def _float(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        raise _NoNumberError(f"the number {digits[:20]} is too large", digits)
    return found


def _constant(name: str) -> float:
    raise _NoNumberError(f"{name} is no number", name)


def _line_of(written: str, text: str) -> int:
    """Return the line, from 1, where ``written`` first stands outside of texts, which hold no line breaks."""
    outside = TEXT.sub("", text)
    found = re.search(rf"(?<![\w.+-]){re.escape(written)}(?![\w.])", outside)
    return outside.count("\n", 0, found.start() if found else 0) + 1


def build_record(kind: type[T], table: Mapping[str, Any], **others: Any) -> T:
    """Return the dataclass ``kind`` of those values of ``table`` that it has a field for, and of ``others``."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in table.items() if name in names} | others)


def known_to_json(record: Any) -> JsonObject:
    """Return a dataclass as JSON, without those fields that are None, nor those of the dataclasses in it."""
    return asdict(record, dict_factory=_known)


def _known(items: list[tuple[str, Any]]) -> JsonObject:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in items if value is not None}
