"""Percentiles of samples, with intervals. Nothing is deleted as an outlier.

A percentile ``p`` is a fraction of one: 0.99 is p99. Every interval is two-sided.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from edgekd.errors import MeasurementError

Samples = Sequence[float] | NDArray[Any]
Interval = tuple[float, float]


def percentile(samples: Samples, p: float) -> float:
    """Return the nearest-rank percentile: always one of ``samples``.

    >>> percentile([4, 1, 3, 2], 0.5)
    2.0
    """
    ordered = ascending(samples)
    check_fraction(p)
    # 0.07 * 100 is a hair over 7 in binary, which must not move the rank.
    rank = math.ceil(p * len(ordered) - 1e-9)
    return float(ordered[max(rank, 1) - 1])


def percentile_interval(samples: Samples, p: float, confidence: float = 0.95) -> Interval | None:
    """Return the interval of the percentile ``p`` between two order statistics, whatever the distribution.

    It is exact for independent samples: the number of samples under the percentile is binomial. There is none for too
    few samples: 95 % confidence needs 6 samples for p50, 36 for p90, 72 for p95, 368 for p99.
    """
    ordered = ascending(samples)
    check_fraction(p)
    tail = (1 - confidence) / 2
    n = len(ordered)
    ranks = np.arange(n + 1)
    low = int(np.count_nonzero(bdtr(ranks, n, p) <= tail))
    high = n + 1 - int(np.count_nonzero(bdtr(ranks, n, 1 - p) <= tail))
    if low < 1 or high > n:
        return None
    return float(ordered[low - 1]), float(ordered[high - 1])


def relative_spread(samples: Samples) -> float:
    """Return the interquartile range over the median, which one outlier hardly moves."""
    low, middle, high = (percentile(samples, p) for p in (0.25, 0.5, 0.75))
    return (high - low) / middle


def ascending(samples: Samples) -> NDArray[Any]:
    ordered = np.sort(np.asarray(samples), axis=None)
    if not len(ordered):
        raise MeasurementError("no samples: a statistic needs at least one")
    return ordered


def check_fraction(p: float) -> None:
    if not 0 < p < 1:
        raise MeasurementError(f"percentile {p} is not between 0 and 1; write p99 as 0.99")
