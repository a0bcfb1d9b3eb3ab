"""Boundaries of classes in masks, and which pixels of one mask's are near to another's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# Of the image's diagonal.
TOLERANCE = 0.0075


def boundary_counts(
    predicted: NDArray[np.uint8], targets: Mapping[str, NDArray[Any]], count: int
) -> tuple[Ints, Ints, Ints, Ints]:
    """Return counts (N, classes) of pixels on the predicted boundary, those near the true one, and the other way round.

    The boundary F1 measure of Csurka et al., "What is a good evaluation measure for semantic segmentation?" (BMVC
    2013), section 3: a pixel is near within 0.75 % of the image's diagonal, one pixel at least. There F1 is computed
    image by image; here the counts of all images are added up first. A pixel is on the boundary of its class where one
    of its four neighbours is known and of another class; the image's edge is no boundary.
    """
    classes, known = targets["classes"], targets["known"]
    shifts = _disc(tolerance(classes.shape[1:]))
    found = np.zeros((4, len(classes), count), np.int64)
    for image, (answer, mask, is_known) in enumerate(zip(predicted, classes, known, strict=True)):
        ours, theirs = (_edge(each, is_known) for each in (answer, mask))
        for each in np.union1d(answer[ours], mask[theirs]).tolist():
            if each < count:
                own, true = ours & (answer == each), theirs & (mask == each)
                found[:, image, each] = own.sum(), (own & _near(true, shifts)).sum(), true.sum(), 0
                found[3, image, each] = (true & _near(own, shifts)).sum()
    return found[0], found[1], found[2], found[3]


def tolerance(size: tuple[int, ...]) -> int:
    """Return how far two pixels of a boundary may lie apart, in pixels."""
    return max(1, round(TOLERANCE * math.hypot(*size)))


def _edge(mask: NDArray[np.uint8], known: Bools) -> Bools:
    """Return which known pixels have a known neighbour of another class."""
    found = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        first, second = (np.moveaxis(found, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        differs = np.diff(np.moveaxis(mask, axis, 0).astype(np.int16), axis=0) != 0
        sure = np.moveaxis(known, axis, 0)
        differs &= sure[1:] & sure[:-1]
        first |= differs
        second |= differs
    return found


def _disc(radius: int) -> list[tuple[int, int]]:
    reach = range(-radius, radius + 1)
    return [(y, x) for y in reach for x in reach if y * y + x * x <= radius * radius]


def _near(mask: Bools, shifts: list[tuple[int, int]]) -> Bools:
    """Return which pixels are one of ``shifts`` away from one of ``mask``."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y, x in shifts:
        if abs(y) >= height or abs(x) >= width:
            continue
        found[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] |= mask[
            max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)
        ]
    return found
