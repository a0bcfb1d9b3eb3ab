"""Class by class: the average precision of two networks on the same images, and what they do at the operating point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgekd.formatting import Column, exceeds, percent, points
from edgekd.tasks.breakdown import (
    HIT,
    MISS,
    TRUE,
    Base64,
    GroupChange,
    LostGroup,
    NamedPredictions,
    Panel,
    PanelCurves,
    PanelTable,
    ReportPart,
    Shot,
    changes,
    lost_more,
    panel_of_shares,
)
from edgekd.tasks.detection.evidence import RECALLS, BoxPrecision
from edgekd.tasks.detection.matching import ImageMatches, Matches, Objects, matches
from edgekd.tasks.detection.operating_point import object_scores, operating_point

if TYPE_CHECKING:
    from edgekd.tasks.breakdown import Pictures

# Points of average precision that a class may lose before it is named in a warning.
MOST_LOST = 5
# Images that are shown.
EXAMPLES = 3
LEGEND = "The test images in which the two networks act most differently, with the boxes at the threshold:"
COLOURS = ((TRUE, "objects"), (HIT, "boxes that hit one"), (MISS, "false boxes, with ?"))
# Points that F1 at the threshold, or the mean score of objects, may change before a warning.
MOST_MOVED = 3

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Curve = Annotated[tuple[Share, ...], Field(min_length=len(RECALLS), max_length=len(RECALLS))]
DIGITS = 4  # of a curve's points


class ClassPrecision(ReportPart):
    """One class: its ``n`` objects in test images, and its average precision; None where it has no object."""

    name: str
    n: Count
    precision_before: Share | None = None
    precision_after: Share | None = None


class Operation(ReportPart):
    """Figures of one network at the threshold; ``object_score`` is the mean of the best score for each object."""

    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None
    object_score: Share | None = None


class BoxExample(ReportPart):
    """Test image ``sample``: pictures of its objects, and of the boxes at the threshold before and after.

    They are transparent PNG to lie over ``photo``, a JPEG; all in base64.
    """

    sample: Count
    before: Base64
    after: Base64
    actual: Base64 | None = None
    photo: Base64 | None = None


class DetectionByClass(ReportPart):
    """The average precision of ``before`` and ``after`` in ``runtime`` class by class, and both at the ``threshold``.

    Attributes:
        curve_before, curve_after: precision at recalls of 0, 0.01 to 1, at an overlap of 0.5, the mean over classes;
            None in reports of earlier versions.
        examples: images in which the two networks act most differently.
        score_moved: the mean change of an object's best score, in [−1, 1], over objects that either network finds; how
            far the distribution of scores moved. None where no object is found.
    """

    before: str
    after: str
    runtime: str
    classes: tuple[ClassPrecision, ...]
    threshold: Share
    operation_before: Operation
    operation_after: Operation
    score_moved: Annotated[float, Field(ge=-1, le=1)] | None = None
    curve_before: Curve | None = None
    curve_after: Curve | None = None
    examples: tuple[BoxExample, ...] = ()

    @property
    def changed(self) -> list[tuple[ClassPrecision, GroupChange]]:
        """Return the classes that have objects, the most lost first."""
        return changes(self.classes, lambda each: (each.precision_before, each.precision_after))

    def lost(self) -> list[LostGroup]:
        found = [
            LostGroup(
                "class_lost",
                f"{self.after} has an average precision of {change.after:.1%} for class {kind.name!r} and the "
                f"{self.before} {change.before:.1%}, on {kind.n} objects",
                change,
            )
            for kind, change in lost_more(self.changed, MOST_LOST)
        ]
        was, now = self.operation_before.f1, self.operation_after.f1
        if was is not None and now is not None and exceeds(100 * (was - now), MOST_MOVED):
            found.append(
                LostGroup(
                    "operating_point_moved",
                    f"at the threshold {self.threshold:g} {self.after} has an F1 of {now:.1%} and the {self.before} "
                    f"{was:.1%}: {self._moved()}; choose the threshold again, or keep the heads in float",
                    GroupChange("F1 at the threshold", was, now),
                )
            )
        return found

    def panel(self) -> Panel:
        # Pictures of earlier reports are of other colours, and show the objects in both.
        is_layered = all(each.actual for each in self.examples)
        return panel_of_shares(
            self,
            self.changed,
            group="class",
            groups="classes",
            metric="average precision",
            axis="average precision in %",
            count=Column("Objects", lambda each: str(each.n)),
            further=(self._at_threshold(),),
            curves=self._curves(),
            shots=[shot for each in self.examples for shot in self._shots(each)],
            legend=LEGEND if is_layered else f"{LEGEND[:-1]}.",
            colours=COLOURS if is_layered else (),
        )

    def _shots(self, each: BoxExample) -> list[Shot]:
        shown = (("objects", each.actual), (self.before, each.before), (self.after, each.after))
        return [Shot(png, f"{name}, test image {each.sample}", each.photo) for name, png in shown if png is not None]

    def _curves(self) -> PanelCurves | None:
        if self.curve_before is None or self.curve_after is None:
            return None
        title = "Precision at each recall, at an overlap of 0.5, mean of the classes"
        return PanelCurves(
            title, "recall in %", "precision in %", RECALLS.tolist(), self.curve_before, self.curve_after
        )

    def _at_threshold(self) -> PanelTable:
        rows = [
            _Row(title, getattr(self.operation_before, name), getattr(self.operation_after, name))
            for title, name in (
                *(("Precision", "precision"), ("Recall", "recall"), ("F1", "f1")),
                ("Mean score of objects", "object_score"),
            )
        ]
        columns = [
            Column("Figure", lambda row: row.title, number=False),
            Column(self.before, lambda row: percent(row.before)),
            Column(self.after, lambda row: percent(row.after)),
        ]
        title = f"The operating point: boxes with a score of {self.threshold:g} or more"
        return PanelTable(title, columns, rows, note=f"{self._moved().capitalize()}.")

    def _moved(self) -> str:
        if self.score_moved is None:
            return "no network finds an object"
        return f"the best score of an object moved by {points(100 * self.score_moved)} on average"


class _Row(NamedTuple):
    title: str
    before: float | None
    after: float | None


def by_class(
    before: NamedPredictions, after: NamedPredictions, targets: Mapping[str, NDArray[Any]], names: Sequence[str],
    runtime: str, pictures: Pictures | None = None,
) -> DetectionByClass:  # fmt: skip
    """Return the comparison of two networks' predictions of the same images in the same order.

    Args:
        targets: see :func:`edgekd.tasks.detection.matching.matches`.
        names: of the classes, in the order of outputs.
        runtime: that both ran in.
        pictures: of the images, to show boxes over.
    """
    both = matches(before.predictions, targets), matches(after.predictions, targets)
    was, now = (BoxPrecision(*each.counted) for each in both)
    counts = was.objects.sum(0).tolist()
    precisions = [_shares(each.by_class(np.ones((1, each.n)))[:, 0]) for each in (was, now)]
    ours, theirs = (object_scores(each.predictions, targets) for each in (before, after))
    found = (ours > 0) | (theirs > 0)
    return DetectionByClass(
        before=before.network,
        after=after.network,
        runtime=runtime,
        classes=tuple(
            ClassPrecision(name=name, n=n, precision_before=first, precision_after=second)
            for name, n, first, second in zip(names, counts, *precisions, strict=True)
        ),
        threshold=before.predictions.threshold,
        operation_before=_operation(both[0], ours),
        operation_after=_operation(both[1], theirs),
        score_moved=float((theirs - ours)[found].mean()) if found.any() else None,
        curve_before=_curve(was),
        curve_after=_curve(now),
        examples=_examples(*both, targets, names, pictures),
    )


def _examples(
    before: Matches, after: Matches, targets: Mapping[str, NDArray[Any]], names: Sequence[str],
    pictures: Pictures | None,
) -> tuple[BoxExample, ...]:  # fmt: skip
    from edgekd.tasks.pictures import for_report

    acts = [list(map(_acted, each.images)) for each in (before, after)]
    apart = [
        abs(sum(was.hits) - sum(now.hits)) + abs(len(was.hits) - len(now.hits)) for was, now in zip(*acts, strict=True)
    ]
    shown = sorted(range(len(apart)), key=lambda each: -apart[each])[:EXAMPLES]
    photos = pictures(shown) if pictures else [None] * len(shown)
    extent = tuple(int(np.ceil(targets["boxes"][..., side].max(initial=1))) for side in (3, 2))
    found = []
    for image, photo in zip(shown, photos, strict=True):
        objects, size = before.images[image].objects, extent if photo is None else photo.shape[1:]
        was, now = (_drawn(objects, act[image], names, size) for act in acts)
        found.append(
            BoxExample(
                sample=image,
                before=was,
                after=now,
                actual=_drawn(objects, None, names, size),
                photo=None if photo is None else for_report(photo),
            )
        )
    return tuple(found)


def _drawn(objects: Objects, act: _Acted | None, names: Sequence[str], size: tuple[int, ...]) -> str:
    from edgekd.tasks.pictures import base64, glass

    picture, pen = glass(size)
    for corners, kind in zip(objects.boxes.tolist(), objects.classes.tolist(), strict=True):
        pen.box(corners, TRUE, names[kind] if act is None else "")
    for corners, kind, hit in zip(*act, strict=True) if act is not None else ():
        pen.box(corners, HIT if hit else MISS, names[kind] if hit else f"{names[kind]}?")
    return base64(picture)


class _Acted(NamedTuple):
    boxes: list[list[float]]
    classes: list[int]
    hits: list[bool]


def _acted(found: ImageMatches) -> _Acted:
    boxes, classes, hits = (each[: found.acted].tolist() for each in (found.boxes, found.classes, found.hits[0]))
    return _Acted(boxes, classes, hits)


def _operation(found: Matches, scores: NDArray[np.float64]) -> Operation:
    point = operating_point(found)
    figures = _shares(np.array([point.precision, point.recall, point.value()]))
    mean = float(scores.mean()) if len(scores) else None
    return Operation(precision=figures[0], recall=figures[1], f1=figures[2], object_score=mean)


def _curve(precision: BoxPrecision) -> tuple[float, ...] | None:
    found = precision.curve()
    return None if np.isnan(found).any() else tuple(found.round(DIGITS).tolist())


def _shares(values: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else min(value, 1.0) for value in values.tolist()]
