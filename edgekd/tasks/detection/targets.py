"""Objects of images as data sets store them: rows [class, x1, y1, x2, y2], padded to as many for each image.

A class of −1 fills up. −2 − c is a crowd of the class c, as COCO has it, and −32768 − c a difficult object, as Pascal
VOC has it: they count neither as found nor as missed. An image whose objects nobody has annotated has −65536 in its
first row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError
from edgekd.folders import several
from edgekd.log import get_logger
from edgekd.tasks.detection.boxes import areas
from edgekd.tasks.stored import nothing_to_measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgekd.geometry import Geometry, Tile
    from edgekd.tasks.task import Arrays, Stored

    Boxes = NDArray[np.float32]

logger = get_logger(__name__)

COLUMNS, PADDING, FIRST_CROWD, FIRST_DIFFICULT, UNKNOWN = 5, -1, -2, -32768, -65536
# Names of targets that say which objects count neither as found nor as missed.
IGNORED = ("crowd", "difficult")
# Pixels by which a box may lie outside of its image, since tools round; it is clipped.
ROUNDING = 1.0
# An object of which less is left in a picture, as a share of its area, counts neither as found nor as missed.
LEAST_LEFT = 0.25
EXPECTED = "expected rows [class, x1, y1, x2, y2] for each image, in pixels, filled up with rows of class -1"


def read_targets(raw: NDArray[Any], count: int, where: str) -> Boxes:
    """Return the objects (N, M, 5) of ``count`` images, from an array that ``where`` names in messages.

    Raises:
        DataError: it is none, or a class is no whole number, or a box is inside out or not finite.
    """
    if raw.ndim != 3 or len(raw) != count or raw.shape[2] != COLUMNS or raw.dtype.kind not in "biuf":
        raise DataError(f"{where} gives {count} images and targets of shape {raw.shape} ({raw.dtype}); {EXPECTED}")
    boxes = raw.astype(np.float32)
    there = (boxes[..., 0] != PADDING) & (boxes[..., 0] != UNKNOWN)
    for image, place in np.argwhere(there).tolist():
        if why := wrong(boxes[image, place]):
            raise DataError(f"{where}: object {place} of image {image} {why}; {EXPECTED}")
    # Rows that fill up may hold anything, and NaN multiplied by a weight of 0 is NaN.
    boxes[~np.isfinite(boxes)] = 0
    return boxes


def wrong(row: NDArray[Any]) -> str | None:
    """Return what is wrong with an object, or None."""
    kind, x1, y1, x2, y2 = row.tolist()
    if not np.isfinite(row).all():
        return "is not finite"
    if kind != int(kind):
        return f"has the class {kind:g}, which is no whole number"
    if not (x1 < x2 and y1 < y2):
        return f"has the corners ({x1:g}, {y1:g}) and ({x2:g}, {y2:g}), so that it is no larger than nothing"
    return None


def padded(objects: Sequence[NDArray[Any]]) -> Boxes:
    """Return the objects (N, M, 5) of images that have different numbers of them, (G, 5) each."""
    most = max((len(each) for each in objects), default=0)
    found = np.zeros((len(objects), max(most, 1), COLUMNS), np.float32)
    found[..., 0] = PADDING
    for row, each in zip(found, objects, strict=True):
        row[: len(each)] = each
    return found


def class_of(stored: Any) -> Any:
    """Return the class of each object, even if it does not count, and −1 for places without one; array or tensor."""
    kind, (crowd, difficult) = stored[..., 0], _ignored(stored)
    plain, known = kind > FIRST_CROWD, kind != UNKNOWN
    return kind * plain + (FIRST_CROWD - kind) * crowd + (FIRST_DIFFICULT - kind) * difficult + PADDING * ~known


def _ignored(stored: Any) -> tuple[Any, Any]:
    """Which objects are crowds, and which are difficult."""
    kind = stored[..., 0]
    crowd = (kind <= FIRST_CROWD) & (kind > FIRST_DIFFICULT)
    return crowd, (kind <= FIRST_DIFFICULT) & (kind != UNKNOWN)


def known(stored: Boxes) -> NDArray[np.bool_]:
    """Return which images (N,) are annotated; one without objects is."""
    found: NDArray[np.bool_] = (stored[..., 0] != UNKNOWN).all(1)
    return found


def unknown(like: Boxes, count: int) -> Boxes:
    """Return the targets of ``count`` images that nobody has annotated."""
    found = np.zeros((count, *like.shape[1:]), np.float32)
    found[..., 0] = PADDING
    found[:, 0, 0] = UNKNOWN
    return found


def contradict(ours: Boxes, theirs: Boxes) -> bool:
    """Return whether two equal images are annotated differently; the order of objects means nothing.

    Args:
        ours, theirs: (M, 5), each filled up to a number of rows of its own.
    """
    if not (known(ours[None]).all() and known(theirs[None]).all()):
        return False
    first, second = (sorted(each[each[:, 0] != PADDING].tolist()) for each in (ours, theirs))
    return first != second


def moved(stored: Boxes, geometry: Geometry) -> Boxes:
    """Return the objects (N, M, 5) of images that were moved, clipped to these.

    One of which less than a quarter is left becomes a crowd, and one of which nothing is left is dropped.
    """
    found, whole = stored.copy(), geometry.rectangles(stored[..., 1:])
    height, width = geometry.after
    found[..., 1:] = whole.clip(0, [width, height, width, height])
    share = areas(found[..., 1:]) / np.maximum(areas(whole), 1e-9)
    kind = found[..., 0]
    there = kind != UNKNOWN
    kind[there & (kind != PADDING) & (share <= 0)] = PADDING
    partly = (kind >= 0) & (share < LEAST_LEFT)
    kind[partly] = FIRST_CROWD - kind[partly]
    return found


def joined(stored: Boxes, tiles: Sequence[Tile]) -> Boxes:
    """Return the objects (N, M, 5) of images that are put together of ``tiles``, each as :func:`moved` moves them.

    An image that nobody has annotated is one crowd, so that nothing in its tile is taken for background.
    """
    height, width = tiles[0].geometry.before
    stored = stored.copy()
    stored[~known(stored), 0] = [FIRST_CROWD, 0, 0, width, height]
    found = np.concatenate([moved(stored[tile.rows], tile.geometry) for tile in tiles], 1)
    is_none = found[..., 0] == PADDING
    order = np.argsort(is_none, axis=1, kind="stable")[..., None]
    most = max(1, int((~is_none).sum(1).max(initial=0)))
    return np.take_along_axis(found, order, 1)[:, :most]


def numbered(stored: Boxes, where: str) -> tuple[str, ...]:
    """Return names for classes that have none: DataError where there is no object."""
    highest = int(class_of(stored).max(initial=-1))
    if highest < 0:
        raise DataError(f"{where}: no training image has an object: add some, or name the classes")
    return tuple(map(str, range(highest + 1)))


def must_be_named(stored: Boxes, names: Sequence[str], where: str) -> None:
    """Refuse objects whose class has no name: DataError."""
    found = class_of(stored)
    if (highest := int(found.max(initial=-1))) >= len(names):
        image, place = np.argwhere(found == highest)[0].tolist()
        raise DataError(
            f"{where}: object {place} of image {image} has the class {highest}, and there are {len(names)} classes"
        )


def must_fit(stored: Boxes, size: tuple[int, int], where: str) -> None:
    """Refuse boxes outside of their images of ``size``, height and width: DataError."""
    (height, width), kind = size, stored[..., 0]
    there = (kind != PADDING) & (kind != UNKNOWN)
    if there.any() and min(size) > 1 and stored[there][:, 1:].max() <= 1:
        raise DataError(
            f"{where}: all boxes lie within one pixel, as shares of an image's sides would: give pixels of the images"
        )
    sides = np.array([width, height])
    beyond = (stored[..., 1:3] < -ROUNDING) | (stored[..., 3:] > sides + ROUNDING)
    # Nothing of it is in the image, by less than rounding.
    beyond |= (stored[..., 1:3] >= sides) | (stored[..., 3:] <= 0)
    wrong = np.argwhere(there & beyond.any(-1))
    if len(wrong):
        image, place = wrong[0].tolist()
        x1, y1, x2, y2 = stored[image, place, 1:].tolist()
        raise DataError(
            f"{where}: object {place} of image {image} has the box ({x1:g}, {y1:g})–({x2:g}, {y2:g}), which lies "
            f"outside of its image of {width}x{height} pixels: clip it, or give boxes in pixels of the images"
        )


def must_be_learnable(stored: Boxes, names: Sequence[str], where: object, advice: str) -> None:
    """Refuse training images without an object: DataError, with ``advice`` to get more.

    Classes without one are logged: an annotation tool may list more than one's own images show.
    """
    if stored.ndim != 3:
        raise DataError(
            f"{where} gives one class for each image, and the task is detection: give boxes from source coco, yolo, "
            "voc or a function, or leave task out"
        )
    there = set(np.unique(class_of(stored)[stored[..., 0] >= 0]).astype(int).tolist())
    missing = [name for index, name in enumerate(names) if index not in there]
    if not there:
        raise DataError(f"{where}: no training image has an object; {advice or 'add some'}")
    if missing:
        logger.warning(
            f"{where}: no training image has an object of {several(map(repr, missing))}, so that none can be found; "
            f"{advice or 'add some, or drop what nobody needs'}"
        )


def must_be_measurable(stored: Boxes, part: str, where: object) -> None:
    """Refuse images of a ``part`` by which no detector can be judged, since none has an object: DataError."""
    if not (stored[..., 0] >= 0).any():
        raise nothing_to_measure(f"no {part} image has an object", part, where)


def describe(row: Boxes, names: Sequence[str]) -> str:
    """Return the objects of one image for a message: 2 objects, 'a' and 'b'."""
    kinds = class_of(row)
    found = [names[int(kind)] for kind in kinds[kinds >= 0].tolist()]
    if not found:
        return "no object"
    listed = ", ".join(map(repr, sorted(set(found))[:3]))
    return f"{len(found)} object{'s' if len(found) > 1 else ''} ({listed})"


def by_name(stored: Stored) -> dict[str, Stored]:
    """Return ``boxes`` (N, M, 4), ``classes``, ``crowd`` and ``difficult`` (N, M), and which are ``known`` (N,).

    A class is −1 where there is no object.

    Args:
        stored: an array or a tensor.
    """
    rows: Any = stored
    kinds, (crowd, difficult) = class_of(rows), _ignored(rows)
    whole = kinds.astype("int64") if isinstance(kinds, np.ndarray) else kinds.long()
    return {
        "boxes": rows[..., 1:],
        "classes": whole,
        "crowd": crowd,
        "difficult": difficult,
        "known": (rows[..., 0] != UNKNOWN).all(1),
    }


def counted(targets: Arrays) -> NDArray[np.bool_]:
    """Return which places (N, M) of targets by name hold an object that counts, no crowd and no difficult one."""
    found: NDArray[np.bool_] = np.asarray(targets["classes"]) >= 0
    for name in IGNORED:
        if name in targets:
            found = found & ~np.asarray(targets[name], bool)
    return found


def strata(targets: Arrays) -> NDArray[np.int64] | None:
    """Return 1 for images (N,) with an object and 0 for others, so that validation has its share of both.

    None where all are alike, or there is one image of a kind.
    """
    found = np.asarray(counted(targets).any(1), np.int64)
    return found if np.bincount(found, minlength=2).min() > 1 else None


def must_be_boxes(targets: Arrays, count: int) -> None:
    """Refuse targets by name that are not boxes of one of ``count`` classes: DataError."""
    boxes, classes = np.asarray(targets["boxes"]), np.asarray(targets["classes"])
    if boxes.ndim != 3 or boxes.shape[2] != 4 or classes.shape != boxes.shape[:2] or not len(boxes):
        raise DataError(f"boxes are of shape {boxes.shape}, their classes {classes.shape}; {EXPECTED}")
    if classes.max(initial=-1) >= count:
        raise DataError(f"an object has the class {int(classes.max())}, and there are {count} classes, from 0 on")
    there = boxes[classes >= 0]
    if not np.isfinite(there).all() or (there[:, 2:] <= there[:, :2]).any():
        raise DataError("a box is inside out, empty or not finite: give the corners x1 < x2 and y1 < y2 in pixels")
