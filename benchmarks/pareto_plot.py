"""Accuracy over latency as curves: how many times faster one is than another at equal accuracy, and their picture."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from paired import NORMAL

from edgekd.files import write_bytes
from edgekd.report.plots import COLOURS, STYLE, plain_axes, reach

RESAMPLES = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Networks by their latency: shares of the uncut one's, those shares' intervals, and what was answered rightly.

    ``right`` is (networks, seeds, test samples); seeds and samples are the same in every curve.
    """

    latency: Floats
    ci95: Floats
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> Floats:
        """In percent, the mean over seeds."""
        return 100 * self.right.mean((1, 2))

    def resampled(
        self, random: np.random.Generator, seeds: NDArray[Any], samples: NDArray[Any]
    ) -> tuple[Floats, Floats]:
        """Latencies within their intervals, and accuracies of ``seeds`` on ``samples`` (times that each was drawn)."""
        spread = np.log(self.ci95[:, 1] / self.ci95[:, 0]) / (2 * NORMAL)
        latency = self.latency * np.exp(spread * random.standard_normal(len(spread)))
        return latency, 100 * (self.right[:, seeds] @ samples).mean(1) / samples.sum()


def front(latency: Floats, accuracy: Floats) -> tuple[Floats, Floats]:
    """Accuracies, ascending, and latencies of the networks that no faster one of the same curve reaches."""
    order = np.lexsort((-accuracy, latency))
    latency, accuracy = latency[order], accuracy[order]
    better = np.concatenate([[True], accuracy[1:] > np.maximum.accumulate(accuracy)[:-1]])
    return accuracy[better], latency[better]


def times_faster(latency: Floats, accuracy: Floats, theirs: tuple[Floats, Floats]) -> Floats:
    """The latency that the curve ``theirs`` (latencies, accuracies) has at each ``accuracy``, over ``latency``.

    Between its networks the logarithm of its latency follows a straight line; beyond its ends it stays as it is.
    """
    accuracies, latencies = front(*theirs)
    return np.exp(np.interp(accuracy, accuracies, np.log(latencies))) / latency


def at_equal_accuracy(ours: Mapping[str, Curve], theirs: Mapping[str, Curve]) -> dict[str, Any]:
    """How many times faster each network of ``ours`` is than the curve of ``theirs`` under the same name.

    Only networks as accurate as something between the ends of that curve are compared, and ``ratio`` is their
    geometric mean. The intervals are of bootstraps, which draw test samples, seeds and latencies, the same for all.
    """
    found: dict[str, Any] = {"networks": []}
    drawn = {name: resampled_ratios(ours[name], theirs[name]) for name in ours}
    counted = []
    for name, (ratios, each) in drawn.items():
        ends = front(theirs[name].latency, theirs[name].accuracy)[0][[0, -1]]
        for index, accuracy in enumerate(ours[name].accuracy):
            within = bool(ends[0] <= accuracy <= ends[1])
            about = {"curve": name, "index": index, "accuracy": float(accuracy), "within": within}
            if within:
                counted.append((ratios[index], each[:, index]))
                about |= {"ratio": float(ratios[index]), "ci95": interval(each[:, index])}
            found["networks"].append(about)
    if counted:
        logs = np.log([ratio for ratio, _ in counted])
        means = np.exp(np.mean([np.log(each) for _, each in counted], axis=0))
        found |= {"ratio": float(np.exp(logs.mean())), "ci95": interval(means)}
    return found


def resampled_ratios(ours: Curve, theirs: Curve) -> tuple[Floats, Floats]:
    random = np.random.default_rng(0)
    _, seeds, samples = ours.right.shape
    each = np.empty((RESAMPLES, len(ours.latency)))
    for row in each:
        chosen = random.integers(seeds, size=(seeds,))
        counts = np.bincount(random.integers(samples, size=samples), minlength=samples)
        row[:] = times_faster(*ours.resampled(random, chosen, counts), theirs.resampled(random, chosen, counts))
    return times_faster(ours.latency, ours.accuracy, (theirs.latency, theirs.accuracy)), each


def interval(values: Floats) -> list[float]:
    return [float(end) for end in np.quantile(values, [0.025, 0.975])]


def picture(rows: Sequence[Mapping[str, Any]], styles: Mapping[str, Any], uncut: str, path: Path) -> None:
    """Writes a PNG: a colour for each method, from the uncut network on, and a line style for each recovery.

    A row has ``method``, ``latency`` (a share), ``latency_ci95`` and ``accuracy`` by recovery, as ``paired`` gives it.
    """
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = plain_axes(4.4)
        methods = [method for method in dict.fromkeys(row["method"] for row in rows) if method != uncut]
        colours = dict(zip(methods, COLOURS[1:], strict=False))
        for method, colour in colours.items():
            own = sorted((row for row in rows if row["method"] in (method, uncut)), key=lambda row: row["latency"])
            for recovery, line in styles.items():
                axes.errorbar(*bars(own, recovery), fmt="o", linestyle=line, color=colour, markersize=4, capsize=2)
        for recovery in styles:
            start = [row for row in rows if row["method"] == uncut]
            axes.errorbar(*bars(start, recovery), fmt="o", color=COLOURS[0], markersize=6, capsize=2, zorder=3)
        lines = [Line2D([], [], color=colour, label=method) for method, colour in colours.items()]
        lines += [Line2D([], [], color=COLOURS[0], linestyle="", marker="o", label=uncut)]
        lines += [Line2D([], [], color=COLOURS[0], linestyle=line, label=name) for name, line in styles.items()]
        axes.legend(handles=lines, loc="lower right")
        axes.set_xscale("log")
        shares = ticker.FixedLocator([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
        axes.xaxis.set_major_locator(shares)
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")
        axes.set_xlabel("latency in % of the uncut network's, log scale (left is faster)")
        axes.set_ylabel("accuracy in % (bars: sd of seeds)")
        axes.grid(True)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    write_bytes(path, image.getvalue())


def bars(rows: Sequence[Mapping[str, Any]], recovery: str) -> tuple[list[float], list[float], Any, list[list[float]]]:
    """x, y, and how far their bars reach, as ``Axes.errorbar`` takes them."""
    x, y = [row["latency"] for row in rows], [row["accuracy"][recovery]["percent"] for row in rows]
    spread = [row["accuracy"][recovery].get("sd", 0.0) for row in rows]
    across = [reach(row["latency"], row["latency_ci95"]) for row in rows]
    return x, y, [spread, spread], [[each[side][0] for each in across] for side in (0, 1)]
