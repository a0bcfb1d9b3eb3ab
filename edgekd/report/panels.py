"""The pictures of a task's panel: each class or label before and after, and curves."""

from matplotlib.figure import Figure

from edgekd.formatting import percent
from edgekd.report.colours import COLOURS
from edgekd.report.plots import Picture, draw, plain_axes
from edgekd.tasks.breakdown import Panel, PanelCurves

LONGEST_NAME = 24
# Places of curves that are put into words.
SAID = (0.25, 0.5, 0.75, 0.9)


def panel_pictures(panel: Panel) -> list[Picture]:
    """Draw the picture of a panel, or none if no class or label has samples."""
    return [draw(panel.picture, panel_alt(panel), lambda: dumbbells(panel))] if panel.groups else []


def curve_pictures(panel: Panel) -> list[Picture]:
    """Draw the panel's curves, or none if it has none."""
    curves = panel.curves
    if curves is None:
        return []
    return [draw(curves.title, curves_alt(panel, curves), lambda: two_curves(panel, curves))]


def curves_alt(panel: Panel, curves: PanelCurves) -> str:
    nearest = [min(range(len(curves.x)), key=lambda place: abs(curves.x[place] - said)) for said in SAID]
    described = [
        f"{name}: " + ", ".join(f"{percent(values[place])} at {percent(curves.x[place])}" for place in nearest)
        for name, values in ((panel.before, curves.before), (panel.after, curves.after))
    ]
    return f"{curves.title}. {'; '.join(described)}."


def two_curves(panel: Panel, curves: PanelCurves) -> Figure:
    figure, (axes,) = plain_axes(3.6)
    across = [100 * each for each in curves.x]
    # The dashes are for those who do not tell the colours apart.
    for values, colour, dashes, name in (
        (curves.before, COLOURS[0], "--", panel.before),
        (curves.after, COLOURS[2], "-", panel.after),
    ):
        axes.plot(across, [100 * each for each in values], color=colour, linestyle=dashes, linewidth=1.8, label=name)
    axes.set_xlabel(curves.across)
    axes.set_ylabel(curves.along)
    axes.set_xlim(0, 103)
    axes.set_ylim(0, 103)
    axes.grid(True)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


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
