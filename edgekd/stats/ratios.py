"""Ratios of two times, with bootstrap intervals over rounds and launches."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from edgekd.errors import MeasurementError
from edgekd.stats.percentiles import Interval, Samples

RESAMPLES = 4000
MIN_LAUNCHES = 6
CHUNK = 2_000_000  # values resampled at a time, for memory


def ratio_of_medians(
    a_blocks: Sequence[Samples], b_blocks: Sequence[Samples], seed: int = 0, confidence: float = 0.95
) -> tuple[float, Interval]:
    """Return the ratio of the time of ``a`` to that of ``b``, and its bootstrap interval.

    Block ``i`` of both was timed in the same round: whatever slowed that round slowed both, and leaves the ratio of
    their medians alone. The result is the median of those ratios; rounds are resampled. The interval does not cover
    the difference between two launches of one file, about half a percent; :func:`ratio_over_launches` does.
    """
    logs = log_ratios(a_blocks, b_blocks)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled_medians(logs, np.random.default_rng(seed)), [tail, 1 - tail])
    return math.exp(np.median(logs)), (math.exp(low), math.exp(high))


def ratio_over_launches(
    a: Sequence[Sequence[Samples]], b: Sequence[Sequence[Samples]], seed: int = 0, confidence: float = 0.95
) -> tuple[float, Interval | None]:
    """Return the ratio of the time of ``a`` to that of ``b`` over several launches, and its bootstrap interval.

    Each launch loads both anew and holds rounds as :func:`ratio_of_medians` takes them. The result is the median over
    all rounds. Launches are resampled, and the rounds within each. Launches are few, so the quantiles are moved out
    to where Student's t has them: the expanded percentile interval of Hesterberg (2015), "What teachers should know
    about the bootstrap", 5.3. Where rounds differ more than launches, it is too wide rather than too narrow. Under
    six launches there is no interval: all of them lie on one side of the truth too often.
    """
    if len(a) != len(b) or not a:
        raise MeasurementError(f"a ratio needs as many launches of both; got {len(a)} and {len(b)}")
    launches = [log_ratios(one, other, least=1) for one, other in zip(a, b, strict=True)]
    ratio, n = math.exp(np.median(np.concatenate(launches))), len(launches)
    if n < MIN_LAUNCHES:
        return ratio, None
    reach = math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, (1 + confidence) / 2))
    tail = NormalDist().cdf(-reach)
    low, high = np.quantile(pooled_medians(launches, np.random.default_rng(seed)), [tail, 1 - tail])
    return ratio, (math.exp(low), math.exp(high))


def stretched(ratio: float, interval: Interval, launches: int, confidence: float) -> Interval:
    """Widen the 95 % interval of a ratio to another confidence, as Student's t would.

    Resampling does not reach tails as thin as those.
    """
    by = float(stdtrit(launches - 1, (1 + confidence) / 2) / stdtrit(launches - 1, 0.975))
    low, high = (ratio * (end / ratio) ** by for end in interval)
    return low, high


def widened(ratio: float, interval: Interval, uncertainty: float, confidence: float = 0.95) -> Interval:
    """Widen the interval of a ratio by a standard ``uncertainty`` of its logarithm that its data cannot show.

    The two are independent, so that their squares add up, as in JCGM 100:2008, "Guide to the expression of
    uncertainty in measurement", 5.1.
    """
    further = NormalDist().inv_cdf((1 + confidence) / 2) * uncertainty
    below, above = (math.hypot(math.log(end / ratio), further) for end in interval)
    return ratio * math.exp(-below), ratio * math.exp(above)


def pooled_medians(launches: Sequence[NDArray[np.float64]], random: np.random.Generator) -> NDArray[np.float64]:
    """Return medians over the rounds of resampled launches, each with as many rounds as the longest has."""
    n, rounds = len(launches), max(map(len, launches))
    lengths = np.array([len(one) for one in launches])
    starts, pool = np.cumsum(lengths) - lengths, np.concatenate(launches)
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
    """Return the logarithm of each round's ratio: swapping the two gives the inverse."""
    if len(a_blocks) != len(b_blocks) or len(a_blocks) < least:
        raise MeasurementError(
            f"a ratio needs a block of each in two rounds or more; got {len(a_blocks)} and {len(b_blocks)}"
        )
    return np.log([np.median(a) / np.median(b) for a, b in zip(a_blocks, b_blocks, strict=True)])
