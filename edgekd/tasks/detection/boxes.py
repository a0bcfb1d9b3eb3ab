"""Boxes (N, 4) of corners [x1, y1, x2, y2]: their areas, their overlap, and non-maximum suppression. NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def areas(boxes: NDArray[Any]) -> Floats:
    """Return the areas (N,), 0 where a box is inside out."""
    sides: Floats = np.maximum(boxes[..., 2:].astype(np.float64) - boxes[..., :2], 0)
    found: Floats = sides[..., 0] * sides[..., 1]
    return found


def overlaps(boxes: NDArray[Any], objects: NDArray[Any], crowd: Bools | None = None) -> Floats:
    """Return the intersection over union of each of ``boxes`` (D, 4) with each of ``objects`` (G, 4): (D, G) in [0, 1].

    Args:
        crowd: (G,), which objects are crowds: these are divided by the area of the box alone, as COCO has it.
    """
    ours, theirs = boxes[:, None].astype(np.float64), objects[None].astype(np.float64)
    sides = np.minimum(ours[..., 2:], theirs[..., 2:]) - np.maximum(ours[..., :2], theirs[..., :2])
    shared = np.where((sides > 0).all(-1), sides.prod(-1), 0.0)
    own = areas(boxes)[:, None]
    union = own + areas(objects)[None] - shared
    if crowd is not None:
        union = np.where(crowd[None], own, union)
    found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def suppress(boxes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any], iou: float) -> Ints:
    """Return the places of the boxes that stay, the highest score first, after suppression within each class.

    Greedy: a box goes where it overlaps a better one of its class by more than ``iou``, as in torchvision's
    ``batched_nms``. Of equal scores the first one is the better.
    """
    order = np.argsort(-scores, kind="stable")
    kept = np.ones(len(order), bool)
    for each in np.unique(classes):
        places = np.flatnonzero(classes[order] == each)
        mine = boxes[order[places]]
        close = overlaps(mine, mine) > iou
        for place in range(len(places)):
            if kept[places[place]]:
                kept[places[place + 1 :][close[place, place + 1 :]]] = False
    return order[kept]
