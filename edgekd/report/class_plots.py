"""Accuracy of each class before and after, as a picture."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from edgekd.formatting import percent
from edgekd.report.classes import classes_sentence, shown_classes
from edgekd.report.colours import COLOURS
from edgekd.report.plots import Picture, draw, plain_axes
from edgekd.report.schema import ByClass, ClassCounts

LONGEST_NAME = 24


def class_pictures(by_class: ByClass) -> list[Picture]:
    """Draw the picture of the classes, or none if no class has samples."""
    shown = shown_classes(by_class)
    if not shown:
        return []
    return [draw("Accuracy class by class", class_alt(by_class, shown), lambda: dumbbells(by_class, shown))]


def class_alt(by_class: ByClass, shown: Sequence[ClassCounts]) -> str:
    described = [
        f"{each.name}: {percent(each.right_before / each.n)} before, {percent(each.right_after / each.n)} after"
        for each in shown
    ]
    return f"{classes_sentence(by_class)} {'; '.join(described)}."


def dumbbells(by_class: ByClass, shown: Sequence[ClassCounts]) -> Figure:
    figure, (axes,) = plain_axes(1.0 + 0.26 * len(shown))
    places = range(len(shown))
    before = [100 * each.right_before / each.n for each in shown]
    after = [100 * each.right_after / each.n for each in shown]
    axes.hlines(places, before, after, color=COLOURS[0], linewidth=1.5, zorder=1)
    axes.scatter(before, places, s=40, facecolor="none", edgecolor=COLOURS[0], linewidth=1.6, label=by_class.before)
    axes.scatter(after, places, s=40, color=COLOURS[2], label=by_class.after)
    axes.set_yticks(places, [clipped(each.name) for each in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("test samples classified correctly in %")
    axes.grid(True, axis="x")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def clipped(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
