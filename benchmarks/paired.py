"""Two networks' metrics on the same test samples: their difference, and how far chance could move it."""

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from edgekd.stats.bootstrap import bootstrap_bounds, bootstrap_differences
from edgekd.tasks.metric import Evidence, Metric

NORMAL = 1.959964
Right = Sequence[NDArray[np.bool_]]


def difference(ours: Right, theirs: Right) -> dict[str, Any]:
    """Mean accuracy of ``ours`` less that of ``theirs`` in points, over seeds, and what it could be by chance.

    Both hold one array for each seed: which of the same test samples were answered rightly. ``samples_ci95``
    takes the seeds as given and the samples as drawn (a paired z interval of the mean over seeds);
    ``seeds_ci95`` takes the samples as given and the seeds as drawn (Student's t, wide for few of them). ``ci95``
    reaches as far as either.
    """
    each = 100 * (np.stack(ours).astype(float) - np.stack(theirs))
    value, by_seed, by_sample = float(each.mean()), each.mean(1), each.mean(0)
    reach = [NORMAL * by_sample.std(ddof=1) / math.sqrt(len(by_sample))]
    found = {"points": value, "by_seed": by_seed.tolist(), "samples_ci95": around(value, reach[0])}
    if len(by_seed) > 1:
        reach.append(seeds_reach(by_seed))
        found["seeds_ci95"] = around(value, reach[1])
    return {**found, "ci95": around(value, max(reach))}


def gain(metric: Metric, ours: Sequence[Evidence], theirs: Sequence[Evidence]) -> dict[str, Any]:
    """How much better ``ours`` are than ``theirs`` in the unit of the metric's differences, the mean over seeds.

    As :func:`difference`, for metrics that are no mean over samples: ``samples_ci95`` is a paired bootstrap that draws
    the same samples for all seeds and both networks.
    """
    each = metric.scale * np.array([metric.drop(*map(Evidence.value, pair)) for pair in zip(ours, theirs, strict=True)])
    first, second = (ours, theirs) if metric.better == "higher" else (theirs, ours)
    drawn = [bootstrap_differences(*pair) for pair in zip(first, second, strict=True)]
    value, draws = float(each.mean()), metric.scale * np.mean(drawn, axis=0)
    ends = [bootstrap_bounds(draws, value, ours[0].n, 0.975)]
    found = {"value": value, "by_seed": each.tolist(), "samples_ci95": list(ends[0])}
    if len(each) > 1:
        found["seeds_ci95"] = around(value, seeds_reach(each))
        ends.append(tuple(found["seeds_ci95"]))
    return {**found, "ci95": [min(low for low, _ in ends), max(high for _, high in ends)]}


def seeds_reach(by_seed: NDArray[np.float64]) -> float:
    """How far the mean over seeds may be by chance: Student's t."""
    count = len(by_seed)
    return float(stdtrit(count - 1, 0.975) * by_seed.std(ddof=1) / math.sqrt(count))


def around(value: float, reach: float) -> list[float]:
    return [value - float(reach), value + float(reach)]


def accuracy(right: Right) -> dict[str, Any]:
    """In percent: the mean over seeds, each seed's, and their standard deviation."""
    by_seed = [100 * float(one.mean()) for one in right]
    spread = {"sd": float(np.std(by_seed, ddof=1))} if len(by_seed) > 1 else {}
    return {"percent": float(np.mean(by_seed)), "by_seed": by_seed, **spread}


def packed(right: NDArray[np.bool_]) -> str:
    """As base64 of bits, the first sample first; :func:`unpacked` is the inverse."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def unpacked(text: str, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)
