"""The operating point of a detector: the boxes above the user's threshold, and how sure the detector is of objects.

Average precision reads a ranking alone. A network whose scores all fell keeps it, and a product that acts on boxes
above a fixed score finds less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError
from edgekd.tasks.detection.matching import Matches, Objects, matches
from edgekd.tasks.metric import Evidence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgekd.strict_json import JsonObject
    from edgekd.tasks.detection.decode import DetectedBoxes

    Arrays = Mapping[str, NDArray[Any]]
    Floats = NDArray[np.float64]

# Deciles of scores that a report keeps.
DECILES = np.linspace(0, 1, 11)


@dataclass(frozen=True, eq=False)
class OperatingPoint(Evidence):
    """F1 of the boxes at the threshold, from counts (N,) of each image: hits, predicted boxes and objects.

    A box is a hit where it overlaps a free object of its class by 0.5. Boxes that are ignored do not count.
    """

    hits: Floats
    predicted: Floats
    objects: Floats

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, rows in self.arrays().items():
            each = np.asarray(rows)
            if each.ndim != 1 or each.dtype.kind != "f" or not (each >= 0).all():
                raise DataError(f"evidence at the operating point counts boxes; {name} is {each.dtype} {each.shape}")

    def values(self, weights: Floats) -> Floats:
        return _share(2 * (weights @ self.hits), weights @ self.predicted + weights @ self.objects)

    @property
    def precision(self) -> float:
        """Return the share of predicted boxes that are hits; NaN without a box."""
        return float(_share(self.hits.sum(), self.predicted.sum()))

    @property
    def recall(self) -> float:
        """Return the share of objects that are hit; NaN without an object."""
        return float(_share(self.hits.sum(), self.objects.sum()))


@dataclass(frozen=True)
class OperatingDetails:
    """The behaviour of a detector at the user's ``threshold``, and how sure it is of the objects.

    Attributes:
        precision_at_threshold, recall_at_threshold, f1_at_threshold: in [0, 1]; None where there is nothing to count.
        boxes_per_image: the mean number of boxes at the threshold.
        object_scores: deciles, from the least to the largest, of the best score of a box that overlaps an object of its
            class by 0.5, over all objects; 0 where there is none.
        average_precision_by_class: None for a class without an object.
    """

    threshold: float
    precision_at_threshold: float | None
    recall_at_threshold: float | None
    f1_at_threshold: float | None
    boxes_per_image: float
    object_scores: list[float]
    average_precision_by_class: list[float | None]

    def to_json(self) -> JsonObject:
        return dict(vars(self))


def operating_point(found: Matches) -> OperatingPoint:
    """Return the evidence for F1 at the threshold of the predictions that were matched."""
    counts = np.zeros((3, len(found.images)))
    for image, each in enumerate(found.images):
        hits, ignored = (rows[0, : each.acted].sum() for rows in (each.hits, each.ignored))
        counts[:, image] = hits, each.acted - ignored, each.objects.counted.sum()
    return OperatingPoint(*counts)


def object_scores(predictions: DetectedBoxes, targets: Arrays) -> Floats:
    """Return for every object (G,) the best score of a box of its class that overlaps it by 0.5; 0 if there is none.

    Two networks' scores of the same objects can be compared one by one.
    """
    from edgekd.tasks.detection.boxes import overlaps

    found = []
    for image in range(len(predictions.scores)):
        objects = Objects.of(targets, image)
        boxes, scores, classes = predictions.of_image(image)
        near = overlaps(boxes, objects.boxes) >= 0.5
        near &= classes[:, None] == objects.classes[None]
        found.append(np.where(near, scores[:, None], 0.0).max(0, initial=0.0)[objects.counted])
    return np.concatenate(found).astype(np.float64) if found else np.zeros(0)


def details(predictions: DetectedBoxes, targets: Arrays) -> OperatingDetails:
    """Return the figures at the threshold, the deciles of scores, and the average precision of each class."""
    from edgekd.tasks.detection.evidence import BoxPrecision

    found, scores = matches(predictions, targets), object_scores(predictions, targets)
    point = operating_point(found)
    by_class = BoxPrecision(*found.counted).by_class(np.ones((1, point.n)))[:, 0]
    acted = (predictions.classes >= 0) & (predictions.scores >= predictions.threshold)
    return OperatingDetails(
        threshold=predictions.threshold,
        precision_at_threshold=_known(point.precision),
        recall_at_threshold=_known(point.recall),
        f1_at_threshold=_known(point.value()),
        boxes_per_image=float(acted.sum() / point.n),
        object_scores=np.quantile(scores, DECILES).round(6).tolist() if len(scores) else [],
        average_precision_by_class=[_known(value) for value in by_class.tolist()],
    )


def _share(part: Any, whole: Any) -> Floats:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _known(value: float) -> float | None:
    return None if value != value else value
