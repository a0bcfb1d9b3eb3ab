"""Overlaps of predicted and true masks, image by image: what mean IoU, Dice and boundary F1 are computed from.

Each metric is one of the whole set, for any weights of images: counts are added up before they are divided, so it is no
mean of images' own figures.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError
from edgekd.tasks.metric import Evidence
from edgekd.tasks.segmentation.masks import resized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgekd.strict_json import JsonObject
    from edgekd.tasks.segmentation.score import MaskPredictions

    Arrays = Mapping[str, NDArray[Any]]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class MeanOverClasses(Evidence):
    """The mean over the classes that are in the true or the predicted masks of images with a weight.

    The fields are counts (N, classes). A class that is in neither has no figure and is left out, as torchmetrics has
    it; one that is predicted and never there counts as 0.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        shapes = {np.shape(rows) for rows in self.arrays().values()}
        kinds = {np.asarray(rows).dtype.kind for rows in self.arrays().values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2 or kinds - {"i", "u"}:
            found = ", ".join(f"{name} {np.shape(rows)}" for name, rows in self.arrays().items())
            raise DataError(f"evidence on masks is counts (N, classes) in each array, not {found}")

    def by_class(self, weights: Floats) -> Floats:
        """Return the figure of each class for each row of ``weights`` (draws, N): (draws, classes), NaN for none."""
        return self._figure(*(weights @ np.asarray(getattr(self, each.name), np.float64) for each in fields(self)))  # type: ignore[arg-type]

    def values(self, weights: Floats) -> Floats:
        by_class = self.by_class(weights)
        known = ~np.isnan(by_class)
        return divide(np.where(known, by_class, 0.0).sum(1), known.sum(1).astype(np.float64))

    @abstractmethod
    def _figure(self, *sums: Floats) -> Floats:
        """Return the figure of each class from the sums of the fields."""


@dataclass(frozen=True, eq=False)
class MeanIoU(MeanOverClasses):
    """Pixels (N, classes) that are a class in both masks, in the predicted and in the true one: |A ∩ B| / |A ∪ B|."""

    both: Ints
    predicted: Ints
    actual: Ints

    def _figure(self, *sums: Floats) -> Floats:
        both, predicted, actual = sums
        return divide(both, predicted + actual - both)


@dataclass(frozen=True, eq=False)
class MeanDice(MeanOverClasses):
    """The same counts: 2 · |A ∩ B| / (|A| + |B|)."""

    both: Ints
    predicted: Ints
    actual: Ints

    def _figure(self, *sums: Floats) -> Floats:
        both, predicted, actual = sums
        return divide(2 * both, predicted + actual)


@dataclass(frozen=True, eq=False)
class BoundaryF1(MeanOverClasses):
    """Pixels (N, classes) on the predicted boundary, those of them near the true one, and the other way round.

    2 · precision · recall / (precision + recall), see :func:`edgekd.tasks.segmentation.boundaries.boundary_counts`.
    """

    predicted: Ints
    predicted_near: Ints
    actual: Ints
    actual_near: Ints

    def _figure(self, *sums: Floats) -> Floats:
        predicted, predicted_near, actual, actual_near = sums
        precision, recall = (
            divide(near, every, absent=0.0) for near, every in ((predicted_near, predicted), (actual_near, actual))
        )
        found = divide(2 * precision * recall, precision + recall, absent=0.0)
        return np.where(predicted + actual > 0, found, np.nan)


def boundary_f1(predictions: MaskPredictions, targets: Arrays) -> BoundaryF1:
    """Return the evidence for the mean over classes of the F1 score of boundaries."""
    from edgekd.tasks.segmentation.boundaries import boundary_counts

    return BoundaryF1(*boundary_counts(fitted(predictions, targets), targets, predictions.count))


def overlaps(predictions: MaskPredictions, targets: Arrays) -> tuple[Ints, Ints, Ints]:
    """Return the pixels (N, classes) of each class in both masks, the predicted and the true one, where known."""
    found = confusions(predictions, targets)
    inside = found[:, :, :-1]
    return np.einsum("ncc->nc", inside).copy(), inside.sum(1), found.sum(2)


def confusions(predictions: MaskPredictions, targets: Arrays) -> Ints:
    """Return the known pixels (N, classes, classes + 1) of each true class predicted as each class, or as none."""
    classes, known, count = targets["classes"], targets["known"], predictions.count
    found = np.empty((len(classes), count, count + 1), np.int64)
    for row, mask, is_known, answer in zip(found, classes, known, fitted(predictions, targets), strict=True):
        pairs = mask[is_known].astype(np.int64) * (count + 1) + np.minimum(answer[is_known], count)
        row[:] = np.bincount(pairs, minlength=row.size).reshape(row.shape)
    return found


def fitted(predictions: MaskPredictions, targets: Arrays) -> NDArray[np.uint8]:
    """Return the predicted masks in the size of the true ones."""
    return resized(predictions.classes, targets["classes"].shape[1:])


@dataclass(frozen=True)
class MaskDetails:
    """IoU and Dice of each class, None for one that is in no mask, and the share of known pixels that are right."""

    iou_by_class: list[float | None]
    dice_by_class: list[float | None]
    pixel_accuracy: float | None

    def to_json(self) -> JsonObject:
        return {name: value for name, value in vars(self).items() if value is not None}


def details(predictions: MaskPredictions, targets: Arrays) -> MaskDetails:
    """Return the figures of each class, of the pixels that are known."""
    both, predicted, actual = overlaps(predictions, targets)
    every = np.ones((1, len(both)))
    found = (kind(both, predicted, actual).by_class(every)[0].tolist() for kind in (MeanIoU, MeanDice))
    iou, dice = ([None if value != value else value for value in each] for each in found)
    return MaskDetails(iou, dice, float(both.sum() / actual.sum()) if actual.any() else None)


def divide(numerators: Floats, denominators: Floats, absent: float = np.nan) -> Floats:
    """Return the quotients, ``absent`` where a denominator is 0."""
    return np.divide(numerators, denominators, out=np.full_like(numerators, absent), where=denominators > 0)
