"""The nearest of known names, for messages about one that is not known."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# So many names are listed whole; of more, the nearest alone.
FEW, NEAREST = 8, 5


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest of ``known``, or nothing if none is close."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def among(name: str, known: Iterable[str], everywhere: str = "") -> str:
    """Return `` (did you mean 'x'?); known: x, y, z`` for a message.

    Of many names it lists none if one is close, and the nearest five if none is.

    Args:
        everywhere: says where all of many names are, as ``'edgekd recipe schema' lists all``.
    """
    names = list(known)
    near = nearest(name, names)
    if len(names) <= FEW:
        return f"{near}; known: {', '.join(names)}"
    likest = get_close_matches(name, names, n=NEAREST, cutoff=0)
    return near or f"; known: {listed([*likest, *(each for each in names if each not in likest)], everywhere)}"


def listed(names: Sequence[str], everywhere: str = "") -> str:
    """Return ``x, y, z`` for a message: all of few names, of many the first five, and ``everywhere``."""
    if len(names) <= FEW:
        return ", ".join(names)
    others = f"{len(names) - NEAREST} others" + (f" ({everywhere})" if everywhere else "")
    return f"{', '.join(names[:NEAREST])} and {others}"
