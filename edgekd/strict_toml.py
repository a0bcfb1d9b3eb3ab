"""Untrusted TOML, read within bounds of time and memory."""

import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = 1 << 20
INT64 = range(-(2**63), 2**63)
MOST_PARTS = 32


def parse(content: bytes) -> dict[str, Any]:
    """Parse the TOML table ``content``.

    Raises:
        ValueError: ``content`` is no TOML, or holds a key, a number or a depth that no policy has. The message is one
            clause.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is not text in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    # The parser takes time with the square of a dotted key's parts.
    if any(line.partition("=")[0].count(".") >= MOST_PARTS for line in text.splitlines()):
        raise ValueError(f"a key has more than {MOST_PARTS} parts")
    try:
        document = tomllib.loads(text)
        must_be_plain(document)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return document


def must_be_plain(value: Any) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            must_be_plain(each)
    elif isinstance(value, int) and value not in INT64:
        raise ValueError("a number has more than 64 bits")
