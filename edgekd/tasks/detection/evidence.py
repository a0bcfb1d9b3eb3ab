"""COCO's mean average precision and recall for any weights of images, from detections that are matched once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from edgekd.errors import DataError
from edgekd.tasks.detection.matching import IOUS, CountedMatches, Matches
from edgekd.tasks.metric import Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Points of recall at which precision is read.
RECALLS = np.linspace(0.0, 1.0, 101)
KINDS = {"scores": "f", "classes": "i", "hits": "u", "ignored": "u", "objects": "iu", "found": "f", "sums": "f"}


def average_precision(found: Matches) -> BoxPrecision:
    """Return the evidence for COCO's mAP, over overlaps from 0.5 to 0.95.

    Raises:
        DataError: no image has an object.
    """
    return BoxPrecision(*_must_have_objects(found.counted))


def average_precision_50(found: Matches) -> BoxPrecision50:
    """Return the evidence for mAP at an overlap of 0.5; raises as :func:`average_precision` does."""
    return BoxPrecision50(*_must_have_objects(found.counted))


def average_recall(found: Matches) -> BoxRecall:
    """Return the evidence for COCO's average recall of 100 detections; raises as :func:`average_precision` does."""
    every = _must_have_objects(found.counted)
    there = every.classes >= 0
    images, _ = np.nonzero(there)
    hits = (every.hits[there][None] >> np.arange(len(IOUS), dtype=np.uint16)[:, None]) & 1
    shares = np.zeros(every.objects.shape)
    np.add.at(shares, (images, every.classes[there]), hits.mean(0))
    return BoxRecall(shares, every.objects)


def _must_have_objects(found: CountedMatches) -> CountedMatches:
    if not found.objects.any():
        raise DataError("no image has an object, so that nothing can be found: add annotated images")
    return found


class _MeanOverClasses(Evidence):
    """The mean over the classes of which ``weights`` leave an object."""

    objects: NDArray[np.int32]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, rows in self.arrays().items():
            each = np.asarray(rows)
            if each.ndim != 2 or each.dtype.kind not in KINDS[name]:
                raise DataError(f"evidence on boxes has a row for each image; {name} is {each.dtype} {each.shape}")
        if not np.asarray(self.objects).size or (np.asarray(self.objects) < 0).any():
            raise DataError("evidence on boxes counts the objects of each class, at least 0")

    def by_class(self, weights: Floats) -> Floats:
        """Return the metric of each class for each row of ``weights``: (classes, draws), NaN without an object."""
        raise NotImplementedError

    def values(self, weights: Floats) -> Floats:
        by_class = self.by_class(weights)
        known = ~np.isnan(by_class)
        total = np.where(known, by_class, 0.0).sum(0)
        return np.divide(total, known.sum(0), out=np.full(total.shape, np.nan), where=known.any(0))


@dataclass(frozen=True, eq=False)
class BoxPrecision(_MeanOverClasses):
    """The mean of precision at 101 points of recall, over overlaps and classes: Lin et al. 2014, as pycocotools has it.

    Precision at a recall is the highest at that recall or beyond. The fields are those of
    :class:`~edgekd.tasks.detection.matching.CountedMatches`.
    """

    scores: NDArray[np.float32]
    classes: NDArray[np.int16]
    hits: NDArray[np.uint16]
    ignored: NDArray[np.uint16]
    objects: NDArray[np.int32]

    thresholds: ClassVar[int] = len(IOUS)

    def __post_init__(self) -> None:
        super().__post_init__()
        of_detections = {np.asarray(rows).shape for name, rows in self.arrays().items() if name != "objects"}
        if len(of_detections) != 1:
            raise DataError(f"evidence on boxes has arrays of one shape for detections, not {sorted(of_detections)}")
        if np.asarray(self.classes).max(initial=-1) >= np.asarray(self.objects).shape[1]:
            raise DataError("evidence on boxes has a detection of a class whose objects are not counted")

    def joined(self, other: Evidence) -> Evidence:
        """Return the evidence of these images and then ``other``'s, which may have another number of detections."""
        theirs = {name: np.asarray(rows) for name, rows in other.arrays().items()}
        counts = [np.asarray(each).shape[1] for each in (self.objects, theirs["objects"])]
        if counts[0] != counts[1]:
            raise ValueError(f"{counts[0]} classes and {counts[1]}")
        arrays = {}
        for name, rows in self.arrays().items():
            ours, filler = np.asarray(rows), -1 if name == "classes" else 0
            width = max(ours.shape[1], theirs[name].shape[1])
            arrays[name] = np.concatenate([_widened(each, width, filler) for each in (ours, theirs[name])])
        return type(self)(**arrays)

    def by_class(self, weights: Floats) -> Floats:
        columns = np.ascontiguousarray(weights.T)
        totals = np.asarray(self.objects, np.float64).T @ columns
        found = np.full(totals.shape, np.nan)
        for row, total, ranked in zip(found, totals, self._ranked, strict=True):
            there = total > 0
            row[there] = ranked.average_precision(columns[:, there], total[there])
        return found

    def curve(self) -> Floats:
        """Return precision at each recall of :data:`RECALLS`, at an overlap of 0.5: (101,), the mean over classes.

        Precision at a recall is the highest at that recall or beyond, so that the mean over recalls is AP50. Classes
        without an object are left out; NaN if none has one.
        """
        totals = np.asarray(self.objects, np.float64).sum(0)
        curves = [self._curve(kind, total) for kind, total in enumerate(totals.tolist()) if total > 0]
        return np.mean(curves, axis=0) if curves else np.full(len(RECALLS), np.nan)

    def _curve(self, kind: int, total: float) -> Floats:
        of_class = np.asarray(self.classes) == kind
        order = np.argsort(-np.asarray(self.scores)[of_class], kind="stable")
        hits, ignored = ((np.asarray(each)[of_class][order] & 1) > 0 for each in (self.hits, self.ignored))
        true, seen = hits.cumsum(), (~ignored).cumsum()
        precision = np.divide(true, seen, out=np.zeros(len(seen)), where=seen > 0)
        highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        return highest[np.searchsorted(true / total, RECALLS)]

    @cached_property
    def _ranked(self) -> list[_RankedClass]:
        return [self._rank(each) for each in range(np.asarray(self.objects).shape[1])]

    def _rank(self, wanted: int) -> _RankedClass:
        images, places = np.nonzero(self.classes == wanted)
        order = np.argsort(-self.scores[images, places], kind="stable")
        images, places = images[order], places[order]
        bits = 1 << np.arange(self.thresholds)[:, None]
        hits, ignored = ((each[images, places][None] & bits) > 0 for each in (self.hits, self.ignored))
        ends = np.flatnonzero(hits.any(0)) + 1
        if not len(ends):
            return _RankedClass(images[:0], ends, [], [])
        positives = [(np.searchsorted(ends, np.flatnonzero(row) + 1), images[row]) for row in hits]
        # Few test sets have crowds.
        left_out = [row[: ends[-1]] if row.any() else None for row in ignored]
        return _RankedClass(images[: ends[-1]], np.append(0, ends[:-1]), positives, left_out)


@dataclass(frozen=True, eq=False)
class BoxPrecision50(BoxPrecision):
    """Average precision at an overlap of 0.5, the mean over classes."""

    thresholds: ClassVar[int] = 1


class _RankedClass(NamedTuple):
    """Detections of one class by falling score, cut after each one that hits an object at some threshold.

    Attributes:
        images: of the detections, down to the last that hits.
        cuts: where in these each part begins.
        positives: for each threshold the parts that end in a hit, and the images of these.
        left_out: for each threshold which detections are ignored, or None.
    """

    images: Ints
    cuts: Ints
    positives: list[tuple[Ints, Ints]]
    left_out: list[NDArray[np.bool_] | None]

    def average_precision(self, columns: Floats, totals: Floats) -> Floats:
        """Return the mean over thresholds (draws,).

        Args:
            columns: the weights (N, draws) of images.
            totals: the weights (draws,) of all objects, above 0.
        """
        if not len(self.cuts) or not len(totals):
            return np.zeros(len(totals))
        counted = columns[self.images]
        every = np.add.reduceat(counted, self.cuts, axis=0).cumsum(0)
        found = np.zeros(len(totals))
        for (parts, images), ignored in zip(self.positives, self.left_out, strict=True):
            if not len(parts):
                continue
            seen = every
            if ignored is not None:
                seen = np.add.reduceat(counted * ~ignored[:, None], self.cuts, axis=0).cumsum(0)
            hits = columns[images].cumsum(0)
            seen = seen[parts]
            precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
            highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
            found += (highest * np.diff(_points(hits / totals), axis=0, prepend=0)).sum(0)
        return found / (len(self.positives) * len(RECALLS))


def _points(recall: Floats) -> Ints:
    """Return how many of :data:`RECALLS` are reached, as ``np.searchsorted(RECALLS, recall, side="right")``."""
    nearest = np.rint(recall * (len(RECALLS) - 1)).astype(np.int64)
    return nearest + (RECALLS[nearest] <= recall)


def _widened(rows: NDArray[Any], width: int, filler: int) -> NDArray[Any]:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=filler)


@dataclass(frozen=True, eq=False)
class BoxRecall(_MeanOverClasses):
    """The share of objects that are found, the mean over overlaps and classes.

    Attributes:
        found: (N, classes), how many objects are found, the mean over thresholds.
        objects: (N, classes), how many there are.
    """

    found: Floats
    objects: NDArray[np.int32]

    def by_class(self, weights: Floats) -> Floats:
        found, objects = weights @ np.asarray(self.found), weights @ np.asarray(self.objects, np.float64)
        return np.divide(found, objects, out=np.full(found.shape, np.nan), where=objects > 0).T
