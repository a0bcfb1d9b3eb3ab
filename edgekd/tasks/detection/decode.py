"""Detected boxes from the common form of outputs, and the rows that evaluations keep of them. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.tasks.detection.boxes import suppress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekd.tasks.detection.outputs import Floats

    Ints = NDArray[np.int64]

# Of one row: four corners, the score, and the class, which is NOTHING where there are fewer boxes.
COLUMNS, SCORE, CLASS = 6, 4, 5
NOTHING = -1


@dataclass(frozen=True)
class DecoderOptions:
    """The part of a detector's positions that is kept.

    Attributes:
        score: the least probability of a box, in [0, 1).
        iou: boxes of one class that overlap a better one by more are suppressed, in (0, 1].
        detections: the most boxes of an image.
        candidates: the most boxes of an image that suppression looks at, the best ones.
        threshold: the probability from which on the user acts on a box: the operating point, in (0, 1).
    """

    score: float = 0.05
    iou: float = 0.6
    detections: int = 100
    candidates: int = 1000
    threshold: float = 0.5


@dataclass(frozen=True, eq=False)
class DetectedBoxes:
    """Boxes of N images, the highest score first.

    Attributes:
        boxes: (N, D, 4), corners in pixels of the network's input.
        scores: (N, D), probabilities; NaN in all of an image's places where its outputs are not finite.
        classes: (N, D), −1 in places that hold no box.
        count: how many classes there are.
        threshold: the score from which on the user acts on a box.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: Ints
    count: int
    threshold: float = 0.5

    def of_image(self, image: int) -> tuple[NDArray[np.float32], NDArray[np.float32], Ints]:
        """Return the boxes (D, 4), scores (D,) and classes (D,) of one image."""
        there = self.classes[image] >= 0
        return self.boxes[image, there], self.scores[image, there], self.classes[image, there]


def to_rows(merged: Floats, options: DecoderOptions) -> NDArray[np.float32]:
    """Return the boxes (N, detections, 6) of the common form: corners, score and class, −1 where there is none."""
    rows = np.zeros((len(merged), options.detections, COLUMNS), np.float32)
    rows[..., CLASS] = NOTHING
    for row, image in zip(rows, merged, strict=True):
        if not np.isfinite(image).all():
            row[:, SCORE] = np.nan
            continue
        found = _of_image(image, options)
        row[: len(found)] = found
    return rows


def from_rows(rows: NDArray[Any], count: int, threshold: float = 0.5) -> DetectedBoxes:
    """Return the boxes of ``count`` classes that rows of :func:`to_rows` hold."""
    return DetectedBoxes(rows[..., :4], rows[..., SCORE], rows[..., CLASS].astype(np.int64), count, threshold)


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Return the probability of each logit."""
    odds = np.exp(-np.abs(logits))
    found: NDArray[np.float32] = (np.where(logits >= 0, 1, odds) / (1 + odds)).astype(np.float32)
    return found


def _of_image(image: Floats, options: DecoderOptions) -> NDArray[np.float32]:
    scores = sigmoid(image[:, 4:])
    is_box = (image[:, 2:4] > image[:, :2]).all(axis=1, keepdims=True)
    places, classes = np.nonzero((scores > options.score) & is_box)
    found = scores[places, classes]
    if len(found) > options.candidates:
        best = np.sort(np.argsort(-found, kind="stable")[: options.candidates])
        places, classes, found = places[best], classes[best], found[best]
    kept = suppress(image[places, :4], found, classes, options.iou)[: options.detections]
    return np.column_stack([image[places[kept], :4], found[kept], classes[kept]]).astype(np.float32)
