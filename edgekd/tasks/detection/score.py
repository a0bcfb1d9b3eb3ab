"""Detections as people and programs read them, and how alike those of two networks are. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.tasks.detection.boxes import overlaps
from edgekd.tasks.ranking import NOT_FINITE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from edgekd.geometry import Geometry
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.detection.decode import DetectedBoxes

    Bools = NDArray[np.bool_]

# Of boxes in one cell of CSV.
SEPARATOR = "|"
# Two networks' boxes are the same where they overlap by as much.
SAME = 0.5
# Boxes of one image that a line of text has.
SHOWN = 6


@dataclass(frozen=True)
class NamedBox:
    """A detected object: its class by name and number, score, and corners in pixels."""

    label: str
    number: int
    score: float
    box: tuple[float, float, float, float]

    def to_json(self, category: int | str) -> JsonObject:
        """Return it by the keys of COCO's results as one of ``category``; ``bbox`` is [x, y, width, height]."""
        x1, y1, x2, y2 = self.box
        return {"category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": self.score}


@dataclass(frozen=True)
class PredictedBoxes:
    """The objects found in one image.

    Attributes:
        boxes: at the operating threshold, the surest first; None if outputs are not finite.
        categories: the ids of classes, by their numbers.
        kept: every box that the decoder keeps, not clipped to the image.
        size: (height, width) of the file's image, where it is known.
    """

    boxes: tuple[NamedBox, ...] | None
    categories: Sequence[int | str] = ()
    kept: tuple[NamedBox, ...] = ()
    size: tuple[int, int] | None = None

    def to_json(self) -> JsonObject:
        """Return the objects by the keys of COCO's results and by the names of their classes."""
        found = [{"label": each.label, **each.to_json(self.categories[each.number])} for each in self.boxes or ()]
        return {"objects": None if self.boxes is None else found}

    def to_text(self) -> str:
        """Return ``9 objects: car 91.0 % at (10, 12)–(48, 40), ... and 3 more``: the surest ones."""
        from edgekd.formatting import percent

        if self.boxes is None:
            return NOT_FINITE
        if not self.boxes:
            return "no object"
        count = len(self.boxes)
        places = ", ".join(
            f"{each.label} {percent(each.score)} at ({x1:.0f}, {y1:.0f})–({x2:.0f}, {y2:.0f})"
            for each in self.boxes[:SHOWN]
            for x1, y1, x2, y2 in [each.box]
        )
        more = f" and {count - SHOWN} more" if count > SHOWN else ""
        return f"{count} object{'s' if count > 1 else ''}: {places}{more}"

    def to_cells(self) -> dict[str, str]:
        boxes = self.boxes or ()
        return {
            "objects": "" if self.boxes is None else str(len(boxes)),
            "labels": SEPARATOR.join(each.label for each in boxes),
            "scores": SEPARATOR.join(f"{each.score:.6f}" for each in boxes),
            "boxes": SEPARATOR.join(" ".join(f"{side:.2f}" for side in each.box) for each in boxes),
        }

    def drawn_on(self, picture: Image.Image) -> Image.Image:
        from edgekd.formatting import percent
        from edgekd.tasks.pictures import SHADES, Pen

        found = picture.convert("RGB")
        pen = Pen(found)
        for each in reversed(self.boxes or ()):
            pen.box(each.box, SHADES[each.number % len(SHADES)], f"{each.label} {percent(each.score)}")
        return found


def sample_predictions(
    predictions: DetectedBoxes,
    names: Sequence[str],
    categories: Sequence[int | str],
    geometry: Sequence[Geometry] | None = None,
) -> list[PredictedBoxes]:
    """Return each image's boxes by their class's name.

    Args:
        categories: the ids of classes.
        geometry: each image's way from its file's pixels to the network's, see
            :meth:`edgekd.tasks.task.Task.sample_predictions`; boxes at the threshold are then clipped to the image, and
            those that lie outside of it, as on the grey around it, are left out.
    """
    found = []
    for image, row in enumerate(predictions.scores):
        size = geometry[image].before if geometry else None
        if np.isnan(row).any():
            found.append(PredictedBoxes(None, size=size))
            continue
        boxes, scores, classes = predictions.of_image(image)
        places, inside = (boxes, boxes) if geometry is None else _in_file(boxes, geometry[image])
        acted = (scores >= predictions.threshold) & (inside[:, 2:] > inside[:, :2]).all(1)
        at_threshold = _named(inside[acted], scores[acted], classes[acted], names)
        found.append(PredictedBoxes(at_threshold, categories, _named(places, scores, classes, names), size))
    return found


def _named(
    boxes: NDArray[Any], scores: NDArray[np.float32], classes: NDArray[np.int64], names: Sequence[str]
) -> tuple[NamedBox, ...]:
    parts = zip(boxes.tolist(), scores.tolist(), classes.tolist(), strict=True)
    return tuple(NamedBox(names[kind], kind, score, tuple(box)) for box, score, kind in parts)


def _in_file(boxes: NDArray[np.float32], geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return boxes in pixels of the file: as they are, and clipped to its image."""
    height, width = geometry.before
    back: NDArray[np.float64] = geometry.inverse().rectangles(boxes[None])[0]
    return back, back.clip(0, [width, height, width, height])


def agree(ours: DetectedBoxes, theirs: DetectedBoxes) -> Bools:
    """Return in which images (N,) two networks act alike: at the threshold, every box has a partner of its class.

    Partners overlap by 0.5, each box has one.
    """
    return np.array([_alike(ours, theirs, image) for image in range(len(ours.scores))], bool)


def _alike(ours: DetectedBoxes, theirs: DetectedBoxes, image: int) -> bool:
    (boxes, scores, classes), (others, other_scores, other_classes) = (each.of_image(image) for each in (ours, theirs))
    mine, yours = scores >= ours.threshold, other_scores >= theirs.threshold
    are_finite = not any(np.isnan(each.scores[image]).any() for each in (ours, theirs))
    if not are_finite or mine.sum() != yours.sum():
        return False
    near = overlaps(boxes[mine], others[yours]) * (classes[mine][:, None] == other_classes[yours][None])
    free = np.ones(near.shape[1], bool)
    for row in near:
        place = int(np.where(free, row, -1.0).argmax()) if free.any() else 0
        if not free[place] or row[place] < SAME:
            return False
        free[place] = False
    return True


def settled(merged: NDArray[np.float32], threshold: float, tolerance: float) -> Bools:
    """Return in which images (N,) every score is further from the threshold than outputs may differ.

    Args:
        merged: the common form of outputs.
        tolerance: in the unit of logits.
    """
    logit = np.log(threshold / (1 - threshold))
    found: Bools = (np.abs(merged[..., 4:] - logit) > tolerance).all((1, 2))
    return found
