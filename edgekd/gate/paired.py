"""How much accuracy was lost between two networks that answered the same samples, and how surely."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.bench.statistics import binomial
from edgekd.errors import EdgekdError

HALVINGS = 60


@dataclass(frozen=True)
class Drop:
    """Shares of all samples, 0.01 is one point; below 0 where accuracy was won.

    Attributes:
        value: what was lost on these samples.
        at_least: one-sided lower bound of the true loss.
        at_most: one-sided upper bound.
        lost, won: samples that were right before and are wrong now, and the other way round.
        p: that of the exact McNemar test, one-sided: how often as many would be lost where nothing changed.
    """

    value: float
    at_least: float
    at_most: float
    lost: int
    won: int
    p: float


def drop(before: NDArray[np.bool_], after: NDArray[np.bool_], confidence: float = 0.95) -> Drop:
    """Compares two networks on the same samples, in the same order.

    Only samples that the two answer differently tell them apart (McNemar 1947). Given how many these are, those that
    were lost are binomial, so the share of them has Clopper and Pearson's exact bounds; the lower bound is above 0
    just where the one-sided exact test finds a loss.

    Args:
        before, after: (N,), which samples were answered rightly.
        confidence: of each bound by itself, in (0.5, 1).

    Raises:
        EdgekdError: the two are not of the same samples.
    """
    if before.shape != after.shape or before.ndim != 1 or not len(before):
        raise EdgekdError(
            f"answers on {before.shape} and {after.shape} samples cannot be compared in pairs: give those of one test "
            "set, in its order"
        )
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    differ, count = lost + won, len(before)

    def of_share(share: float) -> float:
        return differ * (2 * share - 1) / count

    return Drop(
        value=(lost - won) / count,
        at_least=of_share(_lower(lost, differ, 1 - confidence)),
        at_most=of_share(1 - _lower(won, differ, 1 - confidence)),
        lost=lost,
        won=won,
        p=_tail(lost, differ, 0.5),
    )


def _lower(successes: int, n: int, alpha: float) -> float:
    """The share at which as many successes or more have the probability ``alpha``."""
    if successes == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(successes, n, middle) < alpha else (low, middle)
    return low


def _tail(successes: int, n: int, share: float) -> float:
    if successes == 0:
        return 1.0
    return math.fsum(binomial(n, share)[successes:].tolist())
