"""The picture of a task's panel: each class or label before and after."""

from matplotlib.figure import Figure

from edgekd.formatting import percent
from edgekd.report.colours import COLOURS
from edgekd.report.plots import Picture, draw, plain_axes
from edgekd.tasks.breakdown import Panel

LONGEST_NAME = 24


def panel_pictures(panel: Panel) -> list[Picture]:
    """Draw the picture of a panel, or none if no class or label has samples."""
    return [draw(panel.picture, panel_alt(panel), lambda: dumbbells(panel))] if panel.groups else []


def panel_alt(panel: Panel) -> str:
    described = [f"{each.name}: {percent(each.before)} before, {percent(each.after)} after" for each in panel.groups]
    return f"{panel.sentences[0]} {'; '.join(described)}."


def dumbbells(panel: Panel) -> Figure:
    groups = panel.groups
    figure, (axes,) = plain_axes(1.0 + 0.26 * len(groups))
    places = range(len(groups))
    before, after = [100 * each.before for each in groups], [100 * each.after for each in groups]
    axes.hlines(places, before, after, color=COLOURS[0], linewidth=1.5, zorder=1)
    axes.scatter(before, places, s=40, facecolor="none", edgecolor=COLOURS[0], linewidth=1.6, label=panel.before)
    axes.scatter(after, places, s=40, color=COLOURS[2], label=panel.after)
    axes.set_yticks(places, [clipped(each.name) for each in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlabel(panel.axis)
    axes.grid(True, axis="x")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def clipped(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
