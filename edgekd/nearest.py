"""The nearest of known names, for messages about one that is not known."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# So many names are listed whole; of more, the nearest alone.
FEW, NEAREST = 8, 5


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest of ``known``, or nothing if none is close."""
    close = _likest(name, list(known), cutoff=0.5)
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
    return near or f"; known: {listed(_likest(name, names, cutoff=0), everywhere)}"


def listed(names: Sequence[str], everywhere: str = "") -> str:
    """Return ``x, y, z`` for a message: all of few names, of many the first five, and ``everywhere``."""
    if len(names) <= FEW:
        return ", ".join(names)
    others = f"{len(names) - NEAREST} others" + (f" ({everywhere})" if everywhere else "")
    return f"{', '.join(names[:NEAREST])} and {others}"


def _likest(name: str, names: Sequence[str], cutoff: float) -> list[str]:
    """Sort the names that are close enough: of equally close ones that with more in one piece comes first.

    For resnet21 that is resnet20, and resnet32 after it.
    """
    likeness = {each: _likeness(name, each) for each in names}
    return sorted((each for each in names if likeness[each][0] >= cutoff), key=likeness.__getitem__, reverse=True)


def _likeness(name: str, other: str) -> tuple[float, int, str]:
    matcher = SequenceMatcher(None, other, name)
    return matcher.ratio(), matcher.find_longest_match().size, other
