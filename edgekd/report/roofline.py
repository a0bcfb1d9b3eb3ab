"""The roofline of one profile: each layer's rate against the machine's limit, and the time that could be won."""

import io
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from math import atan2, degrees
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from edgekd.files import write_bytes
from edgekd.formatting import percent, significant
from edgekd.report.alt import roofline_alt
from edgekd.report.colours import COLOURS, PAPER
from edgekd.report.labels import Mark, place_labels, settle
from edgekd.report.plots import STYLE, WIDTH, Picture, draw
from edgekd.report.profile import LayersUnderRoofs, MeasuredRoofs, ProfiledLayer

Pairs = Sequence[Sequence[float]]

HIGH = 3.7  # inches
NUMBERED = 8
ONE_PLACE = 12  # points
SHOWN = 0.95
PRECISIONS = {"float32": COLOURS[1], "int8": COLOURS[2], "float16": COLOURS[3]}
OTHER = COLOURS[0]
SLOPES = (2**15, 2**24, 2**28)
HALO = [withStroke(linewidth=2.5, foreground=PAPER)]


def draw_roofline(profile: LayersUnderRoofs, path: Path) -> None:
    """Draw a layer profile as a PNG or SVG, by the suffix of ``path``."""
    with matplotlib.rc_context(STYLE):
        image = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type")) if path.suffix == ".svg" else {"Software": None}
        options: dict[str, Any] = {"dpi": 200, "facecolor": "white", "metadata": nothing}
        roofline(profile).savefig(image, format=path.suffix[1:], **options)
    write_bytes(path, image.getvalue())


def profile_pictures(profiles: Sequence[LayersUnderRoofs]) -> list[Picture]:
    """Draw the roofline of each profile."""
    return [draw(f"Time per layer: {each.model}", roofline_alt(each), partial(roofline, each)) for each in profiles]


def roofline(profile: LayersUnderRoofs) -> Figure:
    worst, roofs = profile.worst(NUMBERED), profile.roofs
    low = 0.6 + 0.22 * len(worst)
    figure = Figure(figsize=(WIDTH, HIGH + low), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(HIGH, low))
    bars(below, worst, profile.summary.layers_ms)
    figure.suptitle(headline(profile), fontsize=9, x=0.01, ha="left")
    shown = longest(profile.layers, worst)
    if shown:
        rates(above, roofs, shown)
        highest = max(peaks_of(shown, roofs).values())
        write_slopes(figure, above, highest, roofs.bandwidth)
        numbered = {number: mark_of(layer, "") for number, layer in enumerate(worst, 1) if layer.macs}
        place_labels(figure, above, together(figure, above, numbered))
    return figure


def headline(profile: LayersUnderRoofs) -> str:
    whole, threads = profile.summary, profile.threads
    return (
        f"{significant(whole.unprofiled_ms)} ms an inference on {threads} thread{'s' * (threads > 1)}, "
        f"{significant(whole.limit_ms)} ms at the limit ({percent(whole.share)})\n"
        f"dots are the longest layers ({SHOWN:.0%} of the time in multiplications), area their share\n"
        "numbers are those of the layers below, which have the most to win"
    )


def longest(layers: Sequence[ProfiledLayer], worst: Sequence[ProfiledLayer]) -> list[ProfiledLayer]:
    """Return the layers that multiply, without the many small ones that would only widen the axes."""
    computing = sorted((layer for layer in layers if layer.macs), key=lambda layer: layer.ms, reverse=True)
    until = list(accumulate(layer.ms for layer in computing))
    return [
        layer
        for layer, spent in zip(computing, until, strict=True)
        if spent - layer.ms < SHOWN * until[-1] or layer in worst
    ]


def rates(axes: Axes, roofs: MeasuredRoofs, layers: Sequence[ProfiledLayer]) -> None:
    """Draw the layers as dots under the roofs."""
    peaks = peaks_of(layers, roofs)
    highest, slowest = max(peaks.values()), min(rate for _, rate in roofs.bandwidth)
    across, along = [intensity(layer) for layer in layers], [speed(layer) for layer in layers]
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(min(min(across) / 2, highest / slowest / 8), max(across) * 2)
    axes.set_ylim(min(min(along) / 2, highest / 12), highest * 2)
    draw_roofs(axes, peaks, roofs.bandwidth)
    for name in dict.fromkeys(layer.precision for layer in layers):
        ours = [layer for layer in layers if layer.precision == name]
        axes.scatter(
            [intensity(layer) for layer in ours], [speed(layer) for layer in ours],
            s=[12 + 900 * layer.of_total for layer in ours],
            color=PRECISIONS.get(name, OTHER), alpha=0.75, edgecolor=PAPER, linewidth=0.6, zorder=3,
        )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high / low < 500 else (1,), numticks=12))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel("MACs for each byte that must be moved")
    axes.set_ylabel("GMAC/s")
    axes.grid(True)


def peaks_of(layers: Sequence[ProfiledLayer], roofs: MeasuredRoofs) -> dict[str, float]:
    """Return the peaks of the precisions that occur, or that of float32 if none of them was measured."""
    found = {name: rate for name, rate in roofs.peak.items() if any(layer.precision == name for layer in layers)}
    return found or {"float32": roofs.peak["float32"]}


def draw_roofs(axes: Axes, peaks: Mapping[str, float], bandwidth: Pairs) -> None:
    highest, (left, right) = max(peaks.values()), axes.get_xlim()
    for _, rate in slopes(axes, highest, bandwidth):
        along = [highest / 1e4, highest]  # down to below any picture
        axes.plot([y / rate for y in along], along, color=OTHER, linewidth=1, scalex=False, scaley=False)
    for place, (name, peak) in enumerate(sorted(peaks.items(), key=lambda item: -item[1])):
        colour = PRECISIONS.get(name, OTHER)
        axes.plot([left, right], [peak, peak], color=colour, linewidth=1.4)
        axes.annotate(
            f"{name}: {significant(peak)} GMAC/s", (left, highest), (4 + 120 * place, 3),
            textcoords="offset points", fontsize=8.5, color=colour, path_effects=HALO,
        )  # fmt: skip


def write_slopes(figure: Figure, axes: Axes, highest: float, bandwidth: Pairs) -> None:
    """Write the label of each slope along its line, whose angle is known once the layout is."""
    settle(figure)
    left, low = axes.get_xlim()[0], axes.get_ylim()[0]
    for size, rate in slopes(axes, highest, bandwidth):
        x = max(left, low / rate) * 1.06
        (x0, y0), (x1, y1) = axes.transData.transform([(x, x * rate), (2 * x, 2 * x * rate)])
        axes.annotate(
            f"{binary(int(size))}: {significant(rate)} GB/s", (x, x * rate), (-1, 4), textcoords="offset points",
            fontsize=7.5, color=OTHER, rotation=degrees(atan2(y1 - y0, x1 - x0)), rotation_mode="anchor",
            path_effects=HALO,
        )  # fmt: skip


def slopes(axes: Axes, highest: float, bandwidth: Pairs) -> list[Sequence[float]]:
    """Return the slopes that are long enough in the picture to be labelled before they meet the roof."""
    left, low = axes.get_xlim()[0], axes.get_ylim()[0]
    chosen = [pair for pair in bandwidth if pair[0] in SLOPES] or list(bandwidth[-1:])
    return [(size, rate) for size, rate in chosen if highest / rate > 2.5 * max(left, low / rate)]


def bars(axes: Axes, worst: Sequence[ProfiledLayer], total_ms: float) -> None:
    """Draw the layers with the most to win: the time that the machine needs, and the time on top of it."""
    colours = [PRECISIONS.get(layer.precision, OTHER) if layer.macs else OTHER for layer in worst]
    needed = [min(layer.limit_ms, layer.ms) for layer in worst]
    places = range(len(worst))
    axes.barh(places, needed, color=colours, height=0.7)
    axes.barh(places, [layer.winnable_ms for layer in worst], left=needed, color=colours, alpha=0.35, height=0.7)
    for place, layer in enumerate(worst):
        words = f"{percent(layer.ms / total_ms)}, {layer.bound}"
        axes.annotate(words, (layer.ms, place), (4, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.set_yticks(places, [f"{short(layer)}  {number}" for number, layer in enumerate(worst, 1)], fontsize=8.5)
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.set_xlabel("ms: full colour is the limit, pale can be won")


def short(layer: ProfiledLayer, limit: int = 24) -> str:
    name = str(layer.name).partition(" after ")[0]
    return name if len(name) <= limit else "…" + name[1 - limit :]


def intensity(layer: ProfiledLayer) -> float:
    return float(layer.macs / max(1, layer.bytes))


def speed(layer: ProfiledLayer) -> float:
    return float(layer.macs / layer.ms / 1e6) if layer.ms else 0.0


def mark_of(layer: ProfiledLayer, text: str) -> Mark:
    x, y = intensity(layer), speed(layer)
    return Mark(x, y, text, (x, x), (y, y))


def together(figure: Figure, axes: Axes, marks: Mapping[int, Mark]) -> list[Mark]:
    """Return one mark for all that lie in one place, with all their numbers: a label next to none would be a point."""
    settle(figure)
    places = {number: axes.transData.transform((mark.x, mark.y)) for number, mark in marks.items()}
    groups: list[list[int]] = []
    for number, place in places.items():
        near = (group for group in groups if max(abs(place - places[group[0]])) < ONE_PLACE * axes.figure.dpi / 72)
        group = next(near, None)
        groups.append([number]) if group is None else group.append(number)
    return [marks[group[0]]._replace(text=ranges(group)) for group in groups]


def ranges(numbers: Sequence[int]) -> str:
    """Write ascending numbers in short: ``1–3, 5``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def binary(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
