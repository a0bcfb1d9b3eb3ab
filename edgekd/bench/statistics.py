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
from edgekd.proportion import wilson_interval as wilson_interval

Samples = Sequence[float] | NDArray[Any]
Interval = tuple[float, float]

RESAMPLES = 4000
MIN_SITTINGS = 6
CHUNK = 2_000_000  # values resampled at a time, for memory


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


def ratio_of_medians(
    a_blocks: Sequence[Samples], b_blocks: Sequence[Samples], seed: int = 0, confidence: float = 0.95
) -> tuple[float, Interval]:
    """How many times as long ``a`` takes as ``b``, and its bootstrap interval.

    Block ``i`` of both was taken in the same round: what slowed that round slowed both and leaves the ratio
    of their medians alone. The result is the median of those ratios, and rounds are what is resampled. It
    does not cover what differs between two loadings of one file, about half a percent;
    :func:`ratio_over_sittings` does.
    """
    logs = log_ratios(a_blocks, b_blocks)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled_medians(logs, np.random.default_rng(seed)), [tail, 1 - tail])
    return math.exp(np.median(logs)), (math.exp(low), math.exp(high))


def ratio_over_sittings(
    a: Sequence[Sequence[Samples]], b: Sequence[Sequence[Samples]], seed: int = 0, confidence: float = 0.95
) -> tuple[float, Interval | None]:
    """As :func:`ratio_of_medians`, for several sittings of rounds, each with both loaded anew.

    The result is the median over all rounds. Sittings are resampled, and the rounds within each. Sittings are few,
    so the quantiles are moved out to where Student's t has them: the expanded percentile interval of Hesterberg
    (2015), "What teachers should know about the bootstrap", 5.3. Where rounds differ more than sittings that errs on
    the wide side. Under six sittings there is no interval: they all lie on one side of the truth too often.
    """
    if len(a) != len(b) or not a:
        raise MeasurementError(f"a ratio needs as many sittings of both; got {len(a)} and {len(b)}")
    sittings = [log_ratios(one, other, least=1) for one, other in zip(a, b, strict=True)]
    ratio, n = math.exp(np.median(np.concatenate(sittings))), len(sittings)
    if n < MIN_SITTINGS:
        return ratio, None
    reach = math.sqrt(n / (n - 1)) * student_quantile((1 + confidence) / 2, n - 1)
    tail = NormalDist().cdf(-reach)
    low, high = np.quantile(pooled_medians(sittings, np.random.default_rng(seed)), [tail, 1 - tail])
    return ratio, (math.exp(low), math.exp(high))


def stretched(ratio: float, interval: Interval, sittings: int, confidence: float) -> Interval:
    """The 95 % interval of a ratio made that of another confidence, as Student's t would; for tails so thin that
    resampling does not reach them."""
    by = student_quantile((1 + confidence) / 2, sittings - 1) / student_quantile(0.975, sittings - 1)
    low, high = (ratio * (end / ratio) ** by for end in interval)
    return low, high


def pooled_medians(sittings: Sequence[NDArray[np.float64]], random: np.random.Generator) -> NDArray[np.float64]:
    """Medians of the rounds of resampled sittings, every sitting with as many rounds as the longest has."""
    n, rounds = len(sittings), max(map(len, sittings))
    lengths = np.array([len(one) for one in sittings])
    starts, pool = np.cumsum(lengths) - lengths, np.concatenate(sittings)
    medians = np.empty(RESAMPLES)
    step = max(1, CHUNK // (n * rounds))
    for first in range(0, RESAMPLES, step):
        which = random.integers(n, size=(min(step, RESAMPLES - first), n, 1))
        within = random.random((*which.shape[:2], rounds)) * lengths[which]
        picked = pool[starts[which] + within.astype(np.int64)]
        medians[first : first + len(which)] = np.median(picked.reshape(len(which), -1), axis=1)
    return medians


def resampled_medians(values: NDArray[Any], random: np.random.Generator) -> NDArray[np.float64]:
    picked = values[random.integers(len(values), size=(RESAMPLES, len(values)))]
    return np.asarray(np.median(picked, axis=1))


def log_ratios(a_blocks: Sequence[Samples], b_blocks: Sequence[Samples], least: int = 2) -> NDArray[np.float64]:
    """Logarithms, so that swapping the two gives the inverse."""
    if len(a_blocks) != len(b_blocks) or len(a_blocks) < least:
        raise MeasurementError(
            f"a ratio needs a block of each in two rounds or more; got {len(a_blocks)} and {len(b_blocks)}"
        )
    return np.log([np.median(a) / np.median(b) for a, b in zip(a_blocks, b_blocks, strict=True)])


def student_quantile(p: float, dof: int) -> float:
    """The quantile of Student's t, within 0.5 % for ``dof`` of 3 or more and 0.9 <= p <= 0.995.

    Exact for one and two degrees, else the expansion around the normal one (Abramowitz and Stegun, 26.7.5).
    """
    check_fraction(p)
    if dof == 1:
        return math.tan(math.pi * (p - 0.5))
    if dof == 2:
        return (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / dof**power for power, term in enumerate(terms, start=1))


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
