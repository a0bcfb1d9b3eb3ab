"""Rows of boxes that two programs made of the same outputs, one of which may round otherwise. NumPy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.tasks.detection.boxes import overlaps
from edgekd.tasks.detection.decode import CLASS, COLUMNS, SCORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekd.tasks.detection.decode import DecoderOptions

# Corners are far larger than probabilities: they may differ by this share of themselves as well.
RELATIVE = 1e-4


def same_rows(
    ours: NDArray[Any], theirs: NDArray[Any], options: DecoderOptions, rounding: float
) -> tuple[NDArray[np.bool_], int]:
    """Return in which images (N,) both hold the same boxes but for rounding, and how many were compared.

    A box needs one of its class, score and corners on the other side, unless it is closer than ``rounding`` to what
    decides whether it is there: the least score, the last place of a full list, or the overlap that suppresses it.

    Args:
        ours, theirs: rows (N, D, 6) of :func:`edgekd.tasks.detection.decode.to_rows`; their D may differ, and ours of
            another form hold other boxes.
        rounding: of corners in pixels, of scores, and of overlaps.
    """
    if ours.ndim != 3 or ours.shape[2] != COLUMNS:
        return np.zeros(len(theirs), bool), 0
    found, compared = [], 0
    for first, second in zip(ours, theirs, strict=True):
        mine, yours = (each[each[:, CLASS] >= 0] for each in (first, second))
        is_lost, was_lost = (np.isnan(each[:, SCORE]).any() for each in (first, second))
        has_all = _has_all(mine, yours, options, rounding) and _has_all(yours, mine, options, rounding)
        found.append(is_lost == was_lost and has_all)
        compared += max(len(mine), len(yours))
    return np.array(found, bool), compared


def _has_all(boxes: NDArray[Any], others: NDArray[Any], options: DecoderOptions, rounding: float) -> bool:
    """Return whether ``others`` (D, 6) holds each of ``boxes`` (D, 6) that rounding cannot add or remove."""
    near = np.abs(boxes[:, None] - others[None])
    near = near <= rounding + RELATIVE * np.abs(boxes[:, None]) * (np.arange(boxes.shape[1]) < SCORE)
    there = near.all(2).any(1)
    least = max([options.score, *(each[:, SCORE].min() for each in (boxes, others) if len(each) >= options.detections)])
    overlap = np.abs(overlaps(boxes[:, :SCORE], others[:, :SCORE]) - options.iou) <= rounding
    may_differ = (boxes[:, SCORE] <= least + rounding) | (overlap & near[..., CLASS]).any(1)
    return bool((there | may_differ).all())
