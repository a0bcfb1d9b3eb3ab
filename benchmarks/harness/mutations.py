"""Damage to files: of their bytes, whatever they are, and of the values in a document, which stays one."""

import json
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import yaml

DEEP = "an odd depth"
ODD: tuple[Callable[[], Any], ...] = (
    lambda: None, lambda: True, lambda: 0, lambda: -1, lambda: 1.5, lambda: 2**31, lambda: 2**63, lambda: 10**400,
    lambda: 1e308, lambda: -1e-308, lambda: float("nan"), lambda: float("inf"), lambda: "", lambda: "nan",
    lambda: "-1", lambda: "\x1b[31m", lambda: "::add-mask::x\n", lambda: "\u202egnp", lambda: "a\0b",
    lambda: "\ud800", lambda: "x" * 100_000, lambda: "../" * 20 + "etc/passwd", lambda: "/etc/passwd",
    lambda: "/dev/zero", lambda: "~nobody/x", lambda: "%s{0}{{}}", lambda: "<script>", lambda: "[red]", lambda: "$x$",
    lambda: [], lambda: {}, lambda: [None], lambda: {"a": 1}, lambda: [[1, 2], [3]], lambda: [0] * 10_000,
    lambda: nested(50, list), lambda: nested(50, dict), lambda: DEEP,
)  # fmt: skip
NOISE = (b"\0", b"\xff", b"\n", b"\r", b"\x1b[31m", b"\xef\xbb\xbf", b"{", b"[" * 2000, b'"', b"\\", b"9" * 400, b"&a ",
         b"*a ", b"!!python/object ", b"---\n", b"\xed\xa0\x80")  # fmt: skip


def nested(depth: int, kind: type) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def damaged(content: bytes, random: Random) -> bytes:
    """Return ``content`` with one to four bytes flipped, cut off, put in, doubled, swapped or zeroed."""
    found = bytearray(content)
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(found) + 1)
        stop = min(len(found), start + random.choice((1, 4, 64, 4096)))
        match random.randrange(7):
            case 0:
                for place in range(start, min(stop, start + 8)):
                    found[place] ^= 1 << random.randrange(8)
            case 1:
                del found[start:]
            case 2:
                del found[start:stop]
            case 3:
                found[start:start] = random.choice(NOISE)
            case 4:
                found[start:start] = found[start:stop]
            case 5:
                found[start:stop] = random.randbytes(stop - start)
            case 6:
                found[start:stop] = bytes(stop - start)
    return bytes(found)


def places(document: Any) -> list[tuple[Any, ...]]:
    """The path of every value in ``document``."""
    found: list[tuple[Any, ...]] = []
    todo: list[tuple[tuple[Any, ...], Any]] = [((), document)]
    while todo:
        above, value = todo.pop()
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        inner = [((*above, key), each) for key, each in items]
        found += [place for place, _ in inner]
        todo += inner
    return found


def changed(document: Any, random: Random) -> Any:
    """Return ``document`` with one to three of its values made odd, moved, doubled or taken away."""
    found = deepcopy(document)
    for _ in range(random.randint(1, 3)):
        known = places(found)
        if not known:
            return found
        *above, key = random.choice(known)
        parent = found
        for step in above:
            parent = parent[step]
        match random.randrange(6):
            case 0 | 1 | 2:
                parent[key] = random.choice(ODD)()
            case 3:
                del parent[key]
            case 4 if isinstance(parent, dict):
                parent[random.choice(("", "extra", "a\nb", "\x1b", "__class__", f"{key} "))] = parent[key]
            case _:
                other = random.choice(known)
                value = found
                for step in other:
                    value = value[step] if isinstance(value, dict | list) and _has(value, step) else None
                parent[key] = deepcopy(value)
    return found


def _has(value: Any, step: Any) -> bool:
    return step in value if isinstance(value, dict) else isinstance(step, int) and step < len(value)


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def as_yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, allow_unicode=True).encode(errors="surrogatepass")


def as_toml(document: dict[str, Any]) -> bytes:
    """Tables of tables of plain values; what TOML has no word for is written as it comes."""
    lines = [f"{json.dumps(key)} = {toml(value)}" for key, value in document.items()]
    return "\n".join(lines).encode(errors="surrogatepass")


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def mutated(document: Any, write: Callable[[Any], bytes], random: Random) -> bytes:
    """Return a changed document, or one whose text is damaged."""
    if random.random() < 0.75:
        return write(changed(document, random)).replace(f'"{DEEP}"'.encode(), b"[" * 5000 + b"]" * 5000)
    return damaged(write(document), random)
