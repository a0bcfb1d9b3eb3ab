"""Which test samples a network answered rightly, as text that a report and a baseline can hold: one bit each."""

import base64
from collections.abc import Iterable


def write_answers(right: Iterable[bool]) -> str:
    """Base64 of the bits, the first sample's first, filled up with zeros to whole bytes."""
    bits = "".join("1" if each else "0" for each in right)
    whole = -(-len(bits) // 8)
    return base64.b64encode(int(bits.ljust(8 * whole, "0") or "0", 2).to_bytes(whole, "big")).decode()


def read_answers(text: object, n: object) -> tuple[bool, ...] | None:
    """The ``n`` answers of ``text``; None where it does not hold as many."""
    if not isinstance(text, str) or not isinstance(n, int) or n < 0:
        return None
    try:
        held = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    if len(held) != -(-n // 8):
        return None
    return tuple(bit == "1" for bit in f"{int.from_bytes(held, 'big'):0{8 * len(held)}b}"[:n])
