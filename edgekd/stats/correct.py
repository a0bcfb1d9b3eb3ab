"""Which test samples a network classified correctly, one bit each, as text that reports and baselines hold."""

import base64
from collections.abc import Iterable


def encode_correct(correct: Iterable[bool]) -> str:
    """Return the bits as Base64, the first sample's bit first, padded with zeros to whole bytes."""
    bits = "".join("1" if each else "0" for each in correct)
    whole = -(-len(bits) // 8)
    return base64.b64encode(int(bits.ljust(8 * whole, "0") or "0", 2).to_bytes(whole, "big")).decode()


def decode_correct(text: object, n: object) -> tuple[bool, ...] | None:
    """Return the ``n`` bits that ``text`` holds, or None if it does not hold as many."""
    if not isinstance(text, str) or not isinstance(n, int) or n < 0:
        return None
    try:
        held = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    if len(held) != -(-n // 8):
        return None
    return tuple(bit == "1" for bit in f"{int.from_bytes(held, 'big'):0{8 * len(held)}b}"[:n])
