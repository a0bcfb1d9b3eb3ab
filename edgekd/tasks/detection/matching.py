"""Detections matched with objects once, image by image, at all thresholds of overlap: as pycocotools does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgekd.tasks.detection.boxes import overlaps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgekd.tasks.detection.decode import DetectedBoxes

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# Of overlap, at which a detection of an object counts: 0.5, 0.55 to 0.95.
IOUS = np.linspace(0.5, 0.95, 10)
# The most detections of one class in one image that count, the best ones.
MOST = 100


class Objects(NamedTuple):
    """The annotated objects of one image: corners (G, 4), classes (G,), and which are crowds (G,)."""

    boxes: NDArray[Any]
    classes: Ints
    crowd: Bools

    @classmethod
    def of(cls, targets: Mapping[str, NDArray[Any]], image: int) -> Objects:
        """Return the objects of one image from ``boxes`` (N, M, 4), ``classes`` (N, M), −1 for none, and ``crowd``."""
        there = targets["classes"][image] >= 0
        crowd = targets["crowd"][image, there] if "crowd" in targets else np.zeros(int(there.sum()), bool)
        return cls(targets["boxes"][image, there], targets["classes"][image, there], np.asarray(crowd, bool))


class Matched(NamedTuple):
    """Matches of the detections (N, D) of a test set.

    Attributes:
        scores, classes: of each detection, by falling score within an image; the class is −1 where there is none.
        hits: a bit for each of :data:`IOUS`, set where the detection has an object of its own.
        ignored: likewise, set where it lies in a crowd alone.
        objects: (N, classes), how many objects there are, without crowds.
    """

    scores: NDArray[np.float32]
    classes: NDArray[np.int16]
    hits: NDArray[np.uint16]
    ignored: NDArray[np.uint16]
    objects: NDArray[np.int32]


def matched(predictions: DetectedBoxes, targets: Mapping[str, NDArray[Any]]) -> Matched:
    """Match each image's detections, the best first, with its objects of their class.

    A detection takes the free object that it overlaps most, of several the last; at each threshold by itself. One
    without such an object that lies in a crowd counts neither as right nor as wrong. All else is as in
    ``COCOeval.evaluateImg`` with area "all" and 100 detections of a class in an image.

    Args:
        targets: ``boxes`` (N, M, 4), ``classes`` (N, M) with −1 for places without an object, and optionally ``crowd``.
    """
    n, most = predictions.scores.shape
    found = Matched(
        np.zeros((n, most), np.float32),
        np.full((n, most), -1, np.int16),
        np.zeros((n, most), np.uint16),
        np.zeros((n, most), np.uint16),
        np.zeros((n, predictions.count), np.int32),
    )
    for image in range(n):
        objects = Objects.of(targets, image)
        found.objects[image] = np.bincount(objects.classes[~objects.crowd], minlength=predictions.count)
        boxes, scores, of = predictions.of_image(image)
        order = np.argsort(-scores, kind="stable")
        order = order[_rank_in_class(of[order]) < MOST]
        boxes, scores, of = boxes[order], scores[order], of[order]
        hits, ignored = match(boxes, of, objects)
        d = len(scores)
        found.scores[image, :d], found.classes[image, :d] = scores, of
        found.hits[image, :d], found.ignored[image, :d] = _packed(hits), _packed(ignored)
    used = max(1, int((found.classes >= 0).sum(1).max(initial=0)))
    return found._replace(
        scores=found.scores[:, :used],
        classes=found.classes[:, :used],
        hits=found.hits[:, :used],
        ignored=found.ignored[:, :used],
    )


def match(boxes: NDArray[Any], classes: Ints, objects: Objects) -> tuple[Bools, Bools]:
    """Return which detections of one image, best first, hit an object, and which to ignore: (thresholds, D) each."""
    hits, ignored = np.zeros((2, len(IOUS), len(boxes)), bool)
    if not len(boxes) or not len(objects.boxes):
        return hits, ignored
    order = np.argsort(objects.crowd, kind="stable")
    crowd, real = objects.crowd[order], int((~objects.crowd).sum())
    iou = overlaps(boxes, objects.boxes[order], crowd)
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
