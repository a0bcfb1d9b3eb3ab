"""Short labels for rows, placed near their points where they cover nothing."""

import textwrap
from collections.abc import Sequence
from itertools import product
from operator import itemgetter
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from edgekd.report.colours import INK, PAPER
from edgekd.report.schema import Row

ALIGN_X: dict[int, Literal["left", "center", "right"]] = {1: "left", 0: "center", -1: "right"}
ALIGN_Y: dict[int, Literal["bottom", "center", "top"]] = {1: "bottom", 0: "center", -1: "top"}
CLEAR_OF_MARKER = 9  # points
End = Literal["point", "top", "bottom"]


class LabelPosition(NamedTuple):
    """The part of the mark that a label is attached to, and the distance from it in points."""

    end: End
    right: int
    up: int
    distance: float = CLEAR_OF_MARKER


ENDS: tuple[tuple[End, int], ...] = (("top", 1), ("bottom", -1))
PLACES = (
    *(LabelPosition("point", right, 0) for right in (1, -1)),
    *(LabelPosition(end, 0, up, 4) for end, up in ENDS),
    *(LabelPosition("point", right, up) for up, right in product((1, -1), (1, -1))),
    *(LabelPosition(end, right, up, 4) for end, up in ENDS for right in (1, -1)),
    *(LabelPosition(end, 0, up, far) for far in (22, 38, 54) for end, up in ENDS),
)


def row_labels(rows: Sequence[Row]) -> list[str]:
    """Return the model of each row, with precision, runtime and device only where its rows differ in them."""
    return [" ".join(distinction(row, [other for other in rows if other.model == row.model])) for row in rows]


def distinction(row: Row, same_model: Sequence[Row]) -> list[str]:
    parts = [row.model]
    for of in (_precision, _runtime, _device):
        if len(set(map(of, same_model))) > 1:
            parts.append(of(row))
    return parts


def _precision(row: Row) -> str:
    return row.precision


def _runtime(row: Row) -> str:
    # A point has no room for more.
    return row.emulates or row.built_for or row.runtime


def _device(row: Row) -> str:
    return str(row.built_for_device or row.device)


class Mark(NamedTuple):
    """A point in the axes' own units, its label, and the ends of its error bars."""

    x: float
    y: float
    text: str
    across: tuple[float, float]
    along: tuple[float, float]


def place_labels(figure: Figure, axes: Axes, marks: Sequence[Mark]) -> None:
    """Write each label at the first place where it covers nothing, or at the one where it covers least."""
    settle(figure)
    frame = axes.get_window_extent()
    taken = [box for mark in marks for box in covered(axes, mark)]
    for mark in marks:
        tried = []
        for number, (place, box) in enumerate(zip(PLACES, boxes(axes, mark), strict=True)):
            cost = sum(overlap(box, other) for other in taken) + outside(box, frame)
            tried.append((cost, number, place, box))
        _, _, place, box = min(tried, key=itemgetter(0, 1))
        write(axes, mark, place)
        taken.append(box)


def settle(figure: Figure) -> None:
    """Fix the layout, once, and with it the pixels of all points."""
    if not isinstance(figure.get_layout_engine(), PlaceHolderLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def boxes(axes: Axes, mark: Mark) -> list[Bbox]:
    """Return the label's box at each of :data:`PLACES`, in pixels; it is measured once, since its size is the same."""
    trial = write(axes, mark, LabelPosition("point", 0, 0))
    size = Text.get_window_extent(trial)
    trial.remove()
    found = []
    for place in PLACES:
        x, y = axes.transData.transform((mark.x, end_of(mark, place)))
        across, up = (each * axes.figure.dpi / 72 for each in shift_of(place))
        left = x + across + (place.right - 1) / 2 * size.width
        low = y + up + (place.up - 1) / 2 * size.height
        found.append(Bbox.from_bounds(left, low, size.width, size.height).padded(2))
    return found


def covered(axes: Axes, mark: Mark) -> list[Bbox]:
    (x, y), (left, low), (right, high) = axes.transData.transform(
        [(mark.x, mark.y), (mark.across[0], mark.along[0]), (mark.across[1], mark.along[1])]
    )
    return [
        Bbox.from_extents(x - 7, y - 7, x + 7, y + 7),
        Bbox.from_extents(left - 2, y - 3, right + 2, y + 3),
        Bbox.from_extents(x - 3, low - 2, x + 3, high + 2),
    ]


def overlap(box: Bbox, other: Bbox) -> float:
    wide = min(box.x1, other.x1) - max(box.x0, other.x0)
    high = min(box.y1, other.y1) - max(box.y0, other.y0)
    return float(wide * high) if wide > 0 and high > 0 else 0.0


def outside(box: Bbox, frame: Bbox) -> float:
    return max(0.0, float(box.width * box.height) - overlap(box, frame))


def end_of(mark: Mark, place: LabelPosition) -> float:
    return {"point": mark.y, "top": mark.along[1], "bottom": mark.along[0]}[place.end]


def shift_of(place: LabelPosition) -> tuple[float, float]:
    """Return the shift in points from the part of the mark that the label is attached to."""
    shift = place.distance / (2**0.5 if place.right and place.up else 1)
    return 0 if place.end != "point" else place.right * shift, place.up * shift


def write(axes: Axes, mark: Mark, place: LabelPosition) -> Annotation:
    leader = {
        "arrowstyle": "-",
        "color": INK,
        "alpha": 0.5,
        "linewidth": 0.7,
        "shrinkA": 0,
        "shrinkB": 2,
    }
    ground = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.5}  # lines may run below
    text = textwrap.fill(mark.text, 13, break_long_words=False)
    return axes.annotate(
        text, (mark.x, end_of(mark, place)), shift_of(place), textcoords="offset points", fontsize=9,
        ha=ALIGN_X[place.right], va=ALIGN_Y[place.up], arrowprops=leader if place.distance > 10 else None, bbox=ground,
    )  # fmt: skip
