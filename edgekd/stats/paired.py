"""How much accuracy was lost between two networks that answered the same samples, and how surely."""

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


def drop(before: Sequence[bool], after: Sequence[bool], confidence: float = 0.95) -> Drop:
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
    if len(before) != len(after) or not len(before):
        raise EdgekdError(
            f"answers on {len(before)} and {len(after)} samples cannot be compared in pairs: give those of one test "
            "set, in its order"
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
    """Return the one-sided p value of the exact McNemar test (1947): how often as many would be lost by chance.

    >>> mcnemar(5, 0) == 0.5**5
    True
    """
    return _tail(lost, lost + won, 0.5)


def drop_interval(lost: int, won: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided score interval of the share of samples that was lost (Tango 1998), in [-1, 1].

    Unlike the bounds of :func:`drop` it knows that few samples tell little also where none of them was answered
    differently: 0 of 20 lost leaves -0.16 to 0.16.

    Args:
        lost, won: samples that were right before and are wrong now, and the other way round, of ``n`` in all.

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
