"""Class by class: the IoU of two networks on the same test images, and the masks that changed most."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgekd.formatting import Column, percent
from edgekd.tasks.breakdown import (
    Base64,
    GroupChange,
    LostGroup,
    NamedPredictions,
    Panel,
    ReportPart,
    Shot,
    changes,
    lost_more,
    panel_of_shares,
)
from edgekd.tasks.segmentation.evidence import MeanIoU, fitted, overlaps
from edgekd.tasks.segmentation.masks import IGNORED, palette, png

if TYPE_CHECKING:
    from edgekd.tasks.breakdown import Pictures

# Points of IoU that a class may lose before it is named in a warning.
MOST_LOST = 3
# Images whose masks a report shows, and the longer side that they are made smaller for.
SHOWN, SIDE = 4, 128

Share = Annotated[float, Field(ge=0, le=1)]
LEGEND = "The test images whose masks changed most; white pixels do not count. Of each class the colour:"
# Classes whose colours are named.
COLOURS = 24


class MaskClass(ReportPart):
    """One class: the share of the known test pixels that it has, and its IoU before and after, None for none."""

    name: str
    share: Share
    iou_before: Share | None = None
    iou_after: Share | None = None


class MaskExample(ReportPart):
    """The masks of test image ``sample``: the true one, those before and after; PNG to lie over ``photo``, a JPEG."""

    sample: Annotated[int, Field(ge=0)]
    changed: Share
    actual: Base64
    before: Base64
    after: Base64
    photo: Base64 | None = None


class MaskBreakdown(ReportPart):
    """The IoU of the networks ``before`` and ``after`` in ``runtime``, class by class, with the most changed masks."""

    before: str
    after: str
    runtime: str
    classes: tuple[MaskClass, ...]
    examples: tuple[MaskExample, ...] = ()

    @property
    def changed(self) -> list[tuple[MaskClass, GroupChange]]:
        """Return the classes that have a figure, the most lost first."""
        return changes(self.classes, lambda each: (each.iou_before, each.iou_after))

    def lost(self) -> list[LostGroup]:
        return [
            LostGroup(
                "class_lost",
                f"{self.after} has an IoU of {change.after:.1%} for class {change.name!r} and the {self.before} "
                f"{change.before:.1%}, on {each.share:.2%} of the test pixels",
                change,
            )
            for each, change in lost_more(self.changed, MOST_LOST)
        ]

    def panel(self) -> Panel:
        return panel_of_shares(
            self,
            self.changed,
            group="class",
            groups="classes",
            metric="IoU",
            axis="intersection over union in %",
            count=Column("Share of pixels", lambda each: percent(each.share)),
            shots=[shot for each in self.examples for shot in self._shots(each)],
            legend=LEGEND,
            colours=self._colours(),
        )

    def _colours(self) -> list[tuple[str, str]]:
        shades = palette([each.name for each in self.classes])[: len(self.classes)].tolist()
        named = [(f"#{red:02x}{green:02x}{blue:02x}", each.name, each.share)
                 for (red, green, blue), each in zip(shades, self.classes, strict=True)]  # fmt: skip
        return [(shade, name) for shade, name, _ in sorted(named, key=lambda each: -each[2])[:COLOURS]]

    def _shots(self, each: MaskExample) -> list[Shot]:
        where = f"test image {each.sample}"
        shown = (
            (each.actual, f"true mask, {where}"),
            (each.before, f"{self.before}, {where}"),
            (each.after, f"{self.after}, {where}: {percent(each.changed)} of the pixels changed"),
        )
        return [Shot(png, caption, each.photo, fills=True) for png, caption in shown]


def by_class(
    before: NamedPredictions, after: NamedPredictions, targets: Mapping[str, NDArray[Any]], names: Sequence[str],
    runtime: str, pictures: Pictures | None = None,
) -> MaskBreakdown:  # fmt: skip
    """Return the IoU of each class for two networks' predictions of the same images in the same order.

    Args:
        targets: ``classes`` (N, H, W) and ``known``.
        names: of the classes, by their number.
        runtime: that both ran in.
        pictures: of the images, to show masks over.
    """
    counts = [overlaps(each.predictions, targets) for each in (before, after)]
    was, now = (MeanIoU(*each).by_class(np.ones((1, len(each[0]))))[0].tolist() for each in counts)
    pixels = counts[0][2].sum(0)
    return MaskBreakdown(
        before=before.network,
        after=after.network,
        runtime=runtime,
        classes=tuple(
            MaskClass(name=name, share=share, iou_before=_known(first), iou_after=_known(second))
            for name, share, first, second in zip(
                names, (pixels / max(1, pixels.sum())).tolist(), was, now, strict=True
            )
        ),
        examples=_examples(before, after, targets, names, pictures),
    )


def _known(value: float) -> float | None:
    return None if value != value else value


def _examples(
    before: NamedPredictions, after: NamedPredictions, targets: Mapping[str, NDArray[Any]], names: Sequence[str],
    pictures: Pictures | None,
) -> tuple[MaskExample, ...]:  # fmt: skip
    from edgekd.tasks.pictures import for_report

    was, now = (fitted(each.predictions, targets) for each in (before, after))
    actual = np.where(targets["known"], targets["classes"], IGNORED).astype(np.uint8)
    changed = ((was != now) & targets["known"]).mean((1, 2))
    most = np.argsort(-changed, kind="stable")[:SHOWN].tolist()
    photos = map(for_report, pictures(most)) if pictures else [None] * len(most)
    step = -(-max(actual.shape[1:]) // SIDE)
    return tuple(
        MaskExample(
            sample=index,
            photo=photo,
            changed=float(changed[index]),
            **{
                name: b64encode(png(masks[index, ::step, ::step], names)).decode()
                for name, masks in (("actual", actual), ("before", was), ("after", now))
            },
        )
        for index, photo in zip(most, photos, strict=True)
    )
