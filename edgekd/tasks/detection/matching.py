"""Detections matched with objects once, image by image, at all thresholds of overlap: as pycocotools does it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgekd.tasks.detection.boxes import overlaps
from edgekd.tasks.detection.targets import IGNORED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgekd.tasks.detection.decode import DetectedBoxes

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# Of overlap, at which a detection of an object counts: 0.5, 0.55 to 0.95.
IOUS = np.linspace(0.5, 0.95, 10)
# The most detections of one class in one image that count, the best ones.
MOST = 100


class Objects(NamedTuple):
    """The annotated objects of one image.

    Attributes:
        boxes, classes: corners (G, 4), and (G,).
        crowd, difficult: (G,), which count neither as found nor as missed.
    """

    boxes: NDArray[Any]
    classes: Ints
    crowd: Bools
    difficult: Bools

    @classmethod
    def of(cls, targets: Mapping[str, NDArray[Any]], image: int) -> Objects:
        """Return the objects of one image from ``targets`` of :func:`matches`."""
        there = targets["classes"][image] >= 0
        none = np.zeros(int(there.sum()), bool)
        ignored = [np.asarray(targets[name][image, there], bool) if name in targets else none for name in IGNORED]
        return cls(targets["boxes"][image, there], targets["classes"][image, there], *ignored)

    @property
    def counted(self) -> Bools:
        """Return which objects (G,) count."""
        return ~(self.crowd | self.difficult)


class CountedMatches(NamedTuple):
    """Matches of those detections (N, D) of a test set that average precision counts.

    Attributes:
        scores, classes: of each detection, by falling score within an image; the class is −1 where there is none.
        hits: a bit for each of :data:`IOUS`, set where the detection has an object of its own.
        ignored: likewise, set where it has none but lies in a crowd or meets a difficult object.
        objects: (N, classes), how many objects count.
    """

    scores: NDArray[np.float32]
    classes: NDArray[np.int16]
    hits: NDArray[np.uint16]
    ignored: NDArray[np.uint16]
    objects: NDArray[np.int32]


class ImageMatches(NamedTuple):
    """The detections of one image by falling score, and its objects.

    Attributes:
        boxes, scores, classes: (D, 4), (D,) and (D,).
        hits: (thresholds, D), which detections have an object of their own.
        ignored: likewise, which have none but lie in a crowd or meet a difficult object.
        acted: how many of them, the first ones, the user acts on.
    """

    boxes: NDArray[Any]
    scores: NDArray[Any]
    classes: Ints
    hits: Bools
    ignored: Bools
    acted: int
    objects: Objects


@dataclass(frozen=True, eq=False)
class Matches:
    """All detections of a test set of ``count`` classes, matched once for all metrics."""

    images: Sequence[ImageMatches]
    count: int

    @cached_property
    def counted(self) -> CountedMatches:
        """Return the matches of the :data:`MOST` best detections of each class in an image."""
        n, kept = len(self.images), [np.flatnonzero(_rank_in_class(each.classes) < MOST) for each in self.images]
        shape = (n, max((len(places) for places in kept), default=0) or 1)
        found = CountedMatches(
            np.zeros(shape, np.float32),
            np.full(shape, -1, np.int16),
            np.zeros(shape, np.uint16),
            np.zeros(shape, np.uint16),
            np.zeros((n, self.count), np.int32),
        )
        for image, (each, places) in enumerate(zip(self.images, kept, strict=True)):
            d = len(places)
            found.scores[image, :d], found.classes[image, :d] = each.scores[places], each.classes[places]
            found.hits[image, :d] = _packed(each.hits[:, places])
            found.ignored[image, :d] = _packed(each.ignored[:, places])
            found.objects[image] = np.bincount(each.objects.classes[each.objects.counted], minlength=self.count)
        return found


def matches(predictions: DetectedBoxes, targets: Mapping[str, NDArray[Any]]) -> Matches:
    """Match each image's detections, the best first, with its objects of their class.

    A detection takes the free object that it overlaps most, of several the last; at each threshold by itself. One
    without such an object counts neither as right nor as wrong where it lies in a crowd, or overlaps a difficult object
    by the threshold as any number of others may (Everingham et al., "The PASCAL Visual Object Classes Challenge",
    2010). All else is as in ``COCOeval.evaluateImg`` with area "all". Detections of one class are matched as if there
    were no others, and those before a detection as if it were not there.

    Args:
        targets: ``boxes`` (N, M, 4), ``classes`` (N, M) with −1 for places without an object, and optionally
            ``crowd`` and ``difficult`` (N, M).
    """
    found = []
    for image in range(len(predictions.scores)):
        objects = Objects.of(targets, image)
        boxes, scores, classes = predictions.of_image(image)
        order = np.argsort(-scores, kind="stable")
        boxes, scores, classes = boxes[order], scores[order], classes[order]
        hits, ignored = match(boxes, classes, objects)
        acted = int((scores >= predictions.threshold).sum())
        found.append(ImageMatches(boxes, scores, classes, hits, ignored, acted, objects))
    return Matches(found, predictions.count)


def match(boxes: NDArray[Any], classes: Ints, objects: Objects) -> tuple[Bools, Bools]:
    """Return which detections of one image, best first, hit an object, and which to ignore: (thresholds, D) each."""
    hits, ignored = np.zeros((2, len(IOUS), len(boxes)), bool)
    if not len(boxes) or not len(objects.boxes):
        return hits, ignored
    order, real = np.argsort(~objects.counted, kind="stable"), int(objects.counted.sum())
    iou = overlaps(boxes, objects.boxes[order], objects.crowd[order])
    iou[classes[:, None] != objects.classes[order][None]] = -1
    bounds = np.minimum(IOUS, 1 - 1e-10)[:, None]
    free = np.ones((len(IOUS), real), bool)
    for place in np.flatnonzero(iou.max(1) >= bounds[0]).tolist():
        near = iou[place] >= bounds
        able = np.where(free & near[:, :real], iou[place, :real], -1.0)
        if real:
            best = real - 1 - able[:, ::-1].argmax(1)
            hit = able[np.arange(len(IOUS)), best] >= 0
            hits[hit, place] = True
            free[hit, best[hit]] = False
        ignored[:, place] = ~hits[:, place] & near[:, real:].any(1)
    return hits, ignored


def _rank_in_class(classes: Ints) -> Ints:
    ranks = np.empty(len(classes), np.int64)
    for each in np.unique(classes):
        places = np.flatnonzero(classes == each)
        ranks[places] = np.arange(len(places))
    return ranks


def _packed(bits: Bools) -> NDArray[np.uint16]:
    weights = 1 << np.arange(len(IOUS))
    return (weights @ bits).astype(np.uint16)
