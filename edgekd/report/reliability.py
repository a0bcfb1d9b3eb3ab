"""The reliability diagram: accuracy at each confidence.

Niculescu-Mizil and Caruana, "Predicting Good Probabilities with Supervised Learning" (2005), figure 1.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from edgekd.formatting import percent
from edgekd.report.colours import COLOURS
from edgekd.report.plots import Picture, draw, plain_axes
from edgekd.report.schema import Row

LARGEST = 160  # points², a bin with all samples


def reliability_pictures(rows: Sequence[Row]) -> list[Picture]:
    """Draw the diagram of the first network and the last, or none if their bins are not known."""
    known = [row for row in rows if row.reliability]
    if not known:
        return []
    shown = [known[0]] if known[0].model == known[-1].model else [known[0], known[-1]]
    return [draw("Accuracy at each confidence", reliability_alt(shown), lambda: diagram(shown))]


def reliability_alt(rows: Sequence[Row]) -> str:
    described = [
        f"{row.model}: "
        + ", ".join(
            f"{percent(each.accuracy)} correct at a confidence of {percent(each.confidence)} ({each.n} samples)"
            for each in row.reliability or ()
        )
        for row in rows
    ]
    return f"Reliability diagram: on the diagonal, accuracy equals confidence. {'; '.join(described)}."


def diagram(rows: Sequence[Row]) -> Figure:
    figure, (axes,) = plain_axes(3.6)
    axes.plot([0, 100], [0, 100], color=COLOURS[0], linewidth=1, linestyle=":", zorder=1)
    for row, colour, fill in zip(rows[::-1], (COLOURS[2], COLOURS[0]), (COLOURS[2], "none"), strict=False):
        bins = row.reliability or ()
        total = sum(each.n for each in bins)
        places = [100 * each.confidence for each in bins], [100 * each.accuracy for each in bins]
        axes.plot(*places, color=colour, linewidth=1, zorder=2)
        # By its area, so that a bin of three samples does not look like one of three hundred.
        areas = [12 + LARGEST * each.n / total for each in bins]
        axes.scatter(*places, s=areas, facecolor=fill, edgecolor=colour, linewidth=1.6, zorder=3)
        axes.scatter([], [], s=40, facecolor=fill, edgecolor=colour, linewidth=1.6, label=row.model)
    axes.set_xlabel("confidence of the prediction in %")
    axes.set_ylabel("accuracy in %")
    axes.set_xlim(0, 103)
    axes.set_ylim(0, 103)
    axes.grid(True)
    figure.legend(loc="outside upper right", ncols=2)
    return figure
