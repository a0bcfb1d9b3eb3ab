"""How many times as long one thing takes as another, with bootstrap intervals over rounds and sittings."""

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
MIN_SITTINGS = 6
CHUNK = 2_000_000  # values resampled at a time, for memory


def ratio_of_medians(
    a_blocks: Sequence[Samples], b_blocks: Sequence[Samples], seed: int = 0, confidence: float = 0.95
) -> tuple[float, Interval]:
    """Return how many times as long ``a`` takes as ``b``, and its bootstrap interval.

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
    """Return as :func:`ratio_of_medians` does, for several sittings of rounds, each with both loaded anew.

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
    reach = math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, (1 + confidence) / 2))
    tail = NormalDist().cdf(-reach)
    low, high = np.quantile(pooled_medians(sittings, np.random.default_rng(seed)), [tail, 1 - tail])
    return ratio, (math.exp(low), math.exp(high))


def stretched(ratio: float, interval: Interval, sittings: int, confidence: float) -> Interval:
    """Return the 95 % interval of a ratio made that of another confidence, as Student's t would; for tails so thin that
    resampling does not reach them."""
    by = float(stdtrit(sittings - 1, (1 + confidence) / 2) / stdtrit(sittings - 1, 0.975))
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
