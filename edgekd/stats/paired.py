"""How much accuracy was lost between two networks on the same samples, with exact bounds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from edgekd.errors import EdgekdError

# Bisections in plain Python, since a gate starts in the time that SciPy alone takes to be imported.
HALVINGS = 60
# A term of a sum below this share of it is not seen in a float any more.
LOST_IN_ROUNDING = 1e-17


@dataclass(frozen=True)
class Drop:
    """A loss of accuracy, as shares of all samples: 0.01 is one point, and a gain is below 0.

    Attributes:
        value: the loss on these samples.
        at_least: one-sided lower bound of the true loss.
        at_most: one-sided upper bound.
        lost, won: samples that were correct before and are wrong now, and the other way round.
        p: one-sided p value of the exact McNemar test: the probability of losing as many if nothing had changed.
    """

    value: float
    at_least: float
    at_most: float
    lost: int
    won: int
    p: float


def drop(before: Sequence[bool], after: Sequence[bool], confidence: float = 0.95) -> Drop:
    """Compare two networks on the same samples, in the same order.

    Only samples on which just one of the two is correct tell them apart (McNemar 1947). Given their number, the lost
    ones among them are binomial, so their share has Clopper and Pearson's exact bounds. The lower bound is above 0
    exactly where the one-sided exact test finds a loss.

    Args:
        before, after: (N,), which samples were classified correctly.
        confidence: of each bound by itself, in (0.5, 1).

    Raises:
        EdgekdError: the two are not of the same samples.
    """
    if len(before) != len(after) or not len(before):
        raise EdgekdError(
            f"predictions on {len(before)} and {len(after)} samples cannot be compared in pairs: give those of one "
            "test set, in its order"
        )
    pairs = [(bool(a), bool(b)) for a, b in zip(before, after, strict=True)]
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    differ, count = lost + won, len(before)

    def of_share(share: float) -> float:
        return differ * (2 * share - 1) / count

    return Drop(
        value=(lost - won) / count,
        at_least=of_share(_lower(lost, differ, 1 - confidence)),
        at_most=of_share(1 - _lower(won, differ, 1 - confidence)),
        lost=lost,
        won=won,
        p=mcnemar(lost, won),
    )


def mcnemar(lost: int, won: int) -> float:
    """Return the one-sided p value of the exact McNemar test (1947): the probability of losing as many by chance.

    >>> mcnemar(5, 0) == 0.5**5
    True
    """
    return _tail(lost, lost + won, 0.5)


def drop_interval(lost: int, won: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided score interval of the share of samples that was lost (Tango 1998), in [-1, 1].

    Unlike the bounds of :func:`drop`, it is wide for few samples also where both networks are correct on the same
    ones: 0 of 20 lost leaves -0.16 to 0.16.

    Args:
        lost, won: samples that were correct before and are wrong now, and the other way round, of ``n`` in all.

    >>> drop_interval(1, 0, 44)[1] > 0.1
    True
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    value = (lost - won) / n
    low = _where(lambda difference: _score(lost, won, n, difference) <= z, -1.0, value)
    high = _where(lambda difference: _score(lost, won, n, difference) < -z, value, 1.0)
    return low, high


def _score(lost: int, won: int, n: int, difference: float) -> float:
    """How many standard errors the loss is above ``difference``, with the variance that ``difference`` implies."""
    apart = lost - won - n * difference
    b = (2 * n - lost + won) * difference - lost - won
    share_won = (math.sqrt(max(0.0, b * b + 8 * n * won * difference * (1 - difference))) - b) / (4 * n)
    variance = n * (2 * share_won + difference * (1 - difference))
    return apart / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, apart) if apart else 0.0


def _where(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where ``holds`` begins to."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return (low + high) / 2


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
    """The probability of as many ``successes`` or more among ``n``."""
    if successes == 0:
        return 1.0
    if successes > n * share:
        return _away_from_mean(successes, n, share)
    return 1 - _away_from_mean(n - successes + 1, n, 1 - share)


def _away_from_mean(successes: int, n: int, share: float) -> float:
    """The same for more ``successes`` than are expected, where each number is less likely than the one before it."""
    log_choose = math.lgamma(n + 1) - math.lgamma(successes + 1) - math.lgamma(n - successes + 1)
    term = math.exp(log_choose + successes * math.log(share) + (n - successes) * math.log1p(-share))
    total, odds = term, share / (1 - share)
    for k in range(successes, n):
        term *= (n - k) / (k + 1) * odds
        total += term
        if term < LOST_IN_ROUNDING * total:
            break
    return total
