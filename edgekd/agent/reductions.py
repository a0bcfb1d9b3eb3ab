"""Reductions of outputs to what decoding them takes, by comparisons alone.

Exponentials and logarithms differ in their last bits from one processor to another. They are left to the host, which
decodes what is sent here to the bit as it would all outputs.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Outputs = Mapping[str, Any]
    Reduced = Iterator[tuple[str, dict[str, Any]]]

# A peak of a map, and its neighbours along both axes.
DOWN, RIGHT = (0, -1, 1, 0, 0), (0, 0, 0, -1, 1)


def every(outputs: Outputs, about: Mapping[str, Any]) -> Reduced:
    """Yield all values."""
    for name, each in outputs.items():
        yield name, packed(each.astype("<f4"))


def classes(outputs: Outputs, about: Mapping[str, Any]) -> Reduced:
    """Yield the place along the second axis of the largest logit, -1 where one is not finite; of maps it is a byte."""
    for name, logits in outputs.items():
        found = np.where(np.isfinite(logits).all(1), logits.argmax(1), -1)
        yield name, packed(found.astype("<i4" if logits.ndim == 2 else "u1"))


def peaks(outputs: Outputs, about: Mapping[str, Any]) -> Reduced:
    """Yield of maps (N, points, h, w) the cells around the largest of each, and those that are not finite."""
    for name, maps in outputs.items():
        height, width = maps.shape[2:]
        cells = maps.astype("<f4").reshape(-1, height * width)
        down, right = (each[:, None] for each in np.divmod(cells.argmax(1), width))
        around = (down + DOWN).clip(0, height - 1) * width + (right + RIGHT).clip(0, width - 1)
        is_sent = ~np.isfinite(cells)
        is_sent[np.arange(len(cells))[:, None], around] = True
        yield name, some(is_sent.ravel(), cells.reshape(-1, 1))


def positions(outputs: Outputs, about: Mapping[str, Any]) -> Reduced:
    """Yield outputs at the positions that may hold a box: by the rules of their group, or since a value is not finite.

    ``groups`` have ``outputs`` of the same positions, and ``rules``, which all must hold.
    """
    for group in about["groups"]:
        tables = {name: by_position(outputs[name].astype("<f4")) for name in group["outputs"]}
        with np.errstate(invalid="ignore"):
            holds = [surest(tables[rule["output"]], rule) > rule["bound"] for rule in group["rules"]]
        finite = np.all([np.isfinite(table).all(1) for table in tables.values()], 0)
        is_sent = ~finite | np.all([np.ones_like(finite), *holds], 0)
        for name, table in tables.items():
            yield name, some(is_sent, table)


def by_position(values: Any) -> Any:
    """Return maps (N, channels, H, W), or (N, positions, channels), as a row for each position of each sample."""
    if values.ndim == 4:
        values = values.reshape(*values.shape[:2], -1).transpose(0, 2, 1)
    return values.reshape(-1, values.shape[-1])


def surest(table: Any, rule: Mapping[str, Any]) -> Any:
    """Return the largest logit of each row from channel ``first`` on, less the largest of all of a ``softmax``."""
    best = table[:, rule["first"] :].max(1).astype(np.float64)
    return best - table.max(1) if rule["softmax"] else best


def some(is_sent: Any, table: Any) -> dict[str, Any]:
    """Return the rows (K, channels) of a table that are sent, and their places."""
    places = np.flatnonzero(is_sent)
    return {"places": encoded(places.astype("<i4")), **packed(table[places])}


def packed(values: Any) -> dict[str, Any]:
    return {"shape": list(values.shape), "data": encoded(values)}


def encoded(values: Any) -> str:
    return base64.b64encode(values.tobytes()).decode()


REDUCTIONS: dict[str, Callable[[Outputs, Mapping[str, Any]], Reduced]] = {
    "all": every, "classes": classes, "peaks": peaks, "positions": positions,
}  # fmt: skip
