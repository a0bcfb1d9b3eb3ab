"""Pictures of a report, as SVG that sits inside a page and takes the page's text colour, or as PNG.

The same report gives the same bytes. Figures are drawn without pyplot, so nothing global is touched.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from edgekd.files import write_bytes
from edgekd.formatting import size
from edgekd.report.alt import history_alt, metric_alt, size_alt, widths_alt
from edgekd.report.colours import COLOURS, INK, PAPER
from edgekd.report.labels import Mark, place_labels, row_labels
from edgekd.report.pareto import fronts
from edgekd.report.schema import LayerWidth, Report, Row, StageRecord
from edgekd.tasks.metric import Metric

LONGEST_TITLE = 72  # letters, over all panels of a picture
WIDTH = 5.4  # inches; at 10 points the text stays readable when a phone scales the picture down
HIGH = 4.0  # inches, of the two pictures of all networks, which lie side by side
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgekd",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": COLOURS[0],
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "text.parse_math": False,
}


class Picture(NamedTuple):
    """A picture for a page, with its description in words."""

    title: str
    alt: str
    svg: str


def picture(report: Report, path: Path) -> None:
    """Write the task's first metric against latency as a PNG, for a README or a slide."""
    with matplotlib.rc_context(STYLE):
        figure = metric_against_latency(report.rows, report.metrics[0])
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    write_bytes(path, image.getvalue())


def pictures(report: Report) -> list[Picture]:
    """Draw those pictures of the whole run whose data were measured."""
    return row_pictures(report.rows, report.metrics[0])


def row_pictures(rows: Sequence[Row], metric: Metric) -> list[Picture]:
    found = []
    if any(timed(row, metric) for row in rows):
        title = f"{metric.heading} against latency"
        found.append(draw(title, metric_alt(rows, metric), lambda: metric_against_latency(rows, metric)))
    if any(row.size_bytes for row in rows):
        found.append(draw("Size", size_alt(rows), lambda: sizes(rows)))
    return found


def stage_pictures(stage: StageRecord, metric: Metric) -> list[Picture]:
    """Draw the training curves of one stage, and the widths that pruning left."""
    found = []
    history, widths = stage.metrics.get("history"), widths_of(stage)
    if history and len(history) > 1:  # one epoch is no curve
        found.append(draw(f"Training of {stage.name}", history_alt(history, metric), lambda: curves(history, metric)))
    if widths:
        found.append(draw(f"Channels after {stage.name}", widths_alt(widths), lambda: channels(widths)))
    return found


def widths_of(stage: StageRecord) -> list[LayerWidth]:
    """Return the widths that pruning left in a stage, none if it did not prune."""
    return [LayerWidth(**each) for each in stage.metrics.get("widths") or ()]


def draw(title: str, alt: str, make: Callable[[], Figure]) -> Picture:
    with matplotlib.rc_context(STYLE):
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        FigureCanvasSVG(make()).print_svg(text, metadata=nothing)  # savefig would draw everything twice
    return Picture(title, alt, for_page(text.getvalue(), re.sub(r"\W+", "-", title.lower())))


def for_page(svg: str, prefix: str) -> str:
    """Return ``svg`` without prologue and fixed size, with ids of its own, in the colour of the text around it."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(PAPER, "var(--paper)")
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace("'DejaVu Sans'", "sans-serif")
    svg = re.sub(r'((?:\bid="|href="#|url\(#))', rf"\g<1>{prefix}-", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def plain_axes(height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def timed(row: Row, metric: Metric) -> bool:
    return row.figure(metric) is not None and row.own_ms is not None


def metric_against_latency(rows: Sequence[Row], metric: Metric) -> Figure:
    figure, (axes,) = plain_axes(HIGH)
    names = list(dict.fromkeys(row.model for row in rows))
    shown = [row for row in rows if timed(row, metric)]
    marks = []
    for row, label in zip(shown, row_labels(shown), strict=True):
        mark = mark_of(row, metric, label)
        axes.errorbar(
            [mark.x], [mark.y], xerr=reach(mark.x, mark.across), yerr=reach(mark.y, mark.along),
            fmt="o" if row.precision == "float32" else "s", markersize=7, elinewidth=1.2, capsize=2.5,
            color=COLOURS[names.index(row.model) % len(COLOURS)],
            markerfacecolor=None if row.valid else "none",
        )  # fmt: skip
        marks.append(mark)
    draw_fronts(axes, rows, metric)
    log_milliseconds(axes, [mark.x for mark in marks])
    axes.set_xlabel("median time of an inference in ms, log scale (left is faster)")
    axes.set_ylabel(metric.axis)
    axes.grid(True)
    axes.margins(x=0.2, y=0.18)
    place_labels(figure, axes, marks)
    return figure


def draw_fronts(axes: Axes, rows: Sequence[Row], metric: Metric) -> None:
    """Draw a front for each place: a network that runs elsewhere is no alternative."""
    drawn = [[mark_of(row, metric) for row in ours] for ours in fronts(rows, metric) if len(ours) > 1]
    for marks in drawn:
        axes.plot(
            [mark.x for mark in marks], [mark.y for mark in marks], drawstyle="steps-post",
            color=INK, alpha=0.45, linewidth=1, linestyle="--", zorder=1, label="Pareto front",
        )  # fmt: skip
    if drawn:
        front = axes.get_lines()[-1]
        axes.figure.legend(handles=[front], loc="outside upper right", fontsize=8.5)


def mark_of(row: Row, metric: Metric, label: str = "") -> Mark:
    x, y = row.own_ms.p50 if row.own_ms else 0.0, row.figure(metric) or 0.0
    across = (row.own_ms.ci95_p50 if row.own_ms else None) or (x, x)
    low, high = row.interval(metric) or (y, y)
    return Mark(x, metric.scale * y, label, across, (metric.scale * low, metric.scale * high))


def reach(value: float, interval: Sequence[float]) -> list[list[float]]:
    return [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]


def log_milliseconds(axes: Axes, values: Sequence[float]) -> None:
    axes.set_xscale("log")
    if values and max(values) / min(values) < 1.5:  # a log axis with hardly a tick on it says nothing
        axes.set_xlim(min(values) / 2, max(values) * 2)
    ticks = ticker.LogLocator(subs=(1, 2, 5), numticks=12)
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(ticker.NullLocator())


def sizes(rows: Sequence[Row]) -> Figure:
    known = [row for row in rows if row.size_bytes is not None]
    shown = list(zip(row_labels(known), known, strict=True))
    figure, (axes,) = plain_axes(max(HIGH, 0.7 + 0.34 * len(shown)))
    megabytes = [(row.size_bytes or 0) / 1e6 for _, row in shown]
    names = list(dict.fromkeys(row.model for row in rows))
    colours = [COLOURS[names.index(row.model) % len(COLOURS)] for _, row in shown]
    bars = axes.barh(range(len(shown)), megabytes, color=colours, height=0.5)
    axes.bar_label(bars, [size(row.size_bytes) for _, row in shown], padding=4)
    axes.set_yticks(range(len(shown)), [label for label, _ in shown])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlabel("size of the file in MB")
    return figure


def curves(history: Sequence[Mapping[str, float]], metric: Metric) -> Figure:
    value = f"validation_{metric.name}"
    panels = {"loss": "training loss", value: f"validation {metric.axis}", "agreement": "agreement in %"}
    scales = {"loss": 1, value: metric.scale, "agreement": 100}
    shown = {key: text for key, text in panels.items() if any(key in epoch for epoch in history)}
    figure, every = plain_axes(2.3, max(1, len(shown)))
    for axes, (key, text) in zip(every, shown.items(), strict=False):
        known = [(epoch["epoch"], epoch[key]) for epoch in history if epoch.get(key) is not None]
        axes.plot(
            [x for x, _ in known], [scales[key] * y for _, y in known],
            color=COLOURS[1 if key == "loss" else 3], marker="." if len(known) < 30 else "",
        )  # fmt: skip
        axes.set_title(titled(text, LONGEST_TITLE // len(shown)), fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
        axes.grid(True)
    return figure


def titled(text: str, longest: int) -> str:
    """Break ``text`` into lines, but not before its unit."""
    return fill(text.replace(" %", "\xa0%"), longest).replace("\xa0", " ")


def channels(widths: Sequence[LayerWidth]) -> Figure:
    figure, (axes,) = plain_axes(1.0 + 0.24 * len(widths))
    places = range(len(widths))
    before, after = [width.before for width in widths], [width.after for width in widths]
    axes.barh(places, before, color=COLOURS[0], alpha=0.35, height=0.75, label="before")
    axes.barh(places, after, color=COLOURS[2], height=0.75, label="after")
    axes.set_yticks(places, [width.layer for width in widths], fontsize=8.5)
    axes.set_ylim(len(widths) - 0.4, -0.6)
    axes.set_xlabel("channels")
    figure.legend(loc="outside upper right", ncols=2)
    return figure
