"""Percentiles, intervals and ratios in NumPy alone. Nothing is deleted as an outlier.

A percentile ``p`` is a fraction of one: 0.99 is p99. Every interval is two-sided.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import MeasurementError

Samples = Sequence[float] | NDArray[Any]
Interval = tuple[float, float]

RESAMPLES = 2000


def percentile(samples: Samples, p: float) -> float:
    """The nearest-rank percentile: always one of ``samples``.

    >>> percentile([4, 1, 3, 2], 0.5)
    2.0
    """
    ordered = ascending(samples)
    check_fraction(p)
    # 0.07 * 100 is a hair over 7 in binary, which must not move the rank.
    rank = math.ceil(p * len(ordered) - 1e-9)
    return float(ordered[max(rank, 1) - 1])


def percentile_interval(samples: Samples, p: float, confidence: float = 0.95) -> Interval | None:
    """The interval of the percentile ``p`` between two order statistics, whatever the distribution.

    Exact for independent samples: the number of samples under the percentile is binomial. ``None`` when
    there are too few for the confidence: 95 % needs 6 samples for p50, 36 for p90, 72 for p95, 368 for p99.
    """
    ordered = ascending(samples)
    check_fraction(p)
    tail = (1 - confidence) / 2
    mass = binomial(len(ordered), p)
    low = int(np.count_nonzero(np.cumsum(mass) <= tail))
    high = len(ordered) + 1 - int(np.count_nonzero(np.cumsum(mass[::-1]) <= tail))
    if low < 1 or high > len(ordered):
        return None
    return float(ordered[low - 1]), float(ordered[high - 1])


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """The score interval of a proportion, as fractions (Wilson 1927)."""
    if not 0 <= successes <= n or n == 0:
        raise MeasurementError(f"{successes} of {n} is no proportion; expected 0 <= successes <= n and n > 0")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    margin = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)


def ratio_of_medians(
    a_blocks: Sequence[Samples], b_blocks: Sequence[Samples], seed: int = 0, confidence: float = 0.95
) -> tuple[float, Interval]:
    """How many times as long ``a`` takes as ``b``, and its bootstrap interval.

    Block ``i`` of both was taken in the same round: what slowed that round slowed both and leaves the ratio
    of their medians alone. The result is the median of those ratios, and rounds are what is resampled. It
    does not cover what differs between two loadings of one file, about half a percent.
    """
    if len(a_blocks) != len(b_blocks) or len(a_blocks) < 2:
        raise MeasurementError(
            f"a ratio needs a block of each in two rounds or more; got {len(a_blocks)} and {len(b_blocks)}"
        )
    # Logarithms, so that swapping the two gives the inverse.
    logs = np.log([np.median(a) / np.median(b) for a, b in zip(a_blocks, b_blocks, strict=True)])
    rounds = np.random.default_rng(seed).integers(len(logs), size=(RESAMPLES, len(logs)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.median(logs[rounds], axis=1), [tail, 1 - tail])
    return math.exp(np.median(logs)), (math.exp(low), math.exp(high))


def relative_spread(samples: Samples) -> float:
    """Interquartile range over median. Unlike the coefficient of variation it is not made by one hiccup."""
    low, middle, high = (percentile(samples, p) for p in (0.25, 0.5, 0.75))
    return (high - low) / middle


def binomial(n: int, p: float) -> NDArray[np.float64]:
    """The probability of each of 0..n successes; 0 < p < 1."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    log_choose = log_factorial[n] - log_factorial - log_factorial[::-1]
    mass: NDArray[np.float64] = np.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p))
    return mass


def ascending(samples: Samples) -> NDArray[Any]:
    ordered = np.sort(np.asarray(samples), axis=None)
    if not len(ordered):
        raise MeasurementError("no samples: a statistic needs at least one")
    return ordered


def check_fraction(p: float) -> None:
    if not 0 < p < 1:
        raise MeasurementError(f"percentile {p} is not between 0 and 1; write p99 as 0.99")
