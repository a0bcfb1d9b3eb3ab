"""How surely samples show a network's metric, and how much worse than another network it is, for every metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from edgekd.errors import EdgekdError, first_line
from edgekd.stats.paired import drop, drop_interval
from edgekd.stats.proportion import wilson_interval
from edgekd.tasks.metric import Correct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekd.tasks.metric import Evidence, Metric


@dataclass(frozen=True)
class MetricDifference:
    """How much worse one network is than another, in the metric's own scale (0.01 of a share is one point).

    Attributes:
        before, after: the metric of both.
        drop: how much worse ``after`` is, whichever way the metric is better; below 0 where it is better.
        lower, upper: one-sided bounds of the true drop, each at the confidence that was asked for.
        interval: two-sided, at that confidence.
        p: one-sided, how often chance alone gives such a drop: McNemar's exact test, or samples swapped at random.
        n: the number of samples.
        lost, won: samples that were right before and are wrong now, and the other way round; None where samples are
            not right or wrong.
    """

    before: float
    after: float
    drop: float
    lower: float
    upper: float
    interval: tuple[float, float]
    p: float
    n: int
    lost: int | None = None
    won: int | None = None

    @property
    def is_unchanged(self) -> bool:
        """Return whether no sample tells the two networks apart."""
        if self.lost is not None:
            return self.lost == self.won == 0
        return self.drop == self.lower == self.upper == 0

    @property
    def is_worse(self) -> bool:
        """Return whether the samples show a drop at the confidence that was asked for."""
        return self.lower > 0

    @property
    def is_better(self) -> bool:
        """Return whether the samples show a gain at the confidence that was asked for."""
        return self.upper < 0


def compare(
    metric: Metric, before: Evidence, after: Evidence, confidence: float = 0.95, seed: int = 0
) -> MetricDifference:
    """Compare two networks on the same samples, in the same order.

    The lower bound is above 0 only where the exact test finds a drop too, and the upper one below 0 only where it finds
    a gain: right or wrong by McNemar's test, anything else by swapping the two networks' predictions at random, and
    then neither does the interval exclude 0 without that test.

    Args:
        before, after: what ``metric.evidence`` gives of both networks.
        confidence: of each bound by itself, in (0.5, 1).
        seed: of the draws, which both networks share.

    Raises:
        EdgekdError: the two are not of the same samples and classes, or the metric of one is no number.
    """
    if before.n != after.n or not before.n:
        raise EdgekdError(
            f"{metric.name} of {before.n} and of {after.n} samples cannot be compared in pairs: give both networks' "
            "predictions for one test set, in its order"
        )
    if metric.test == "mcnemar":
        return _right_or_wrong(metric, before, after, confidence)
    return _resampled(metric, before, after, confidence, seed)


def interval(metric: Metric, evidence: Evidence, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return the two-sided interval of a network's metric, which it holds: Wilson's, or that of bootstrap draws.

    Where every draw gives one value, as of samples that are all predicted perfectly, draws say nothing of samples that
    were not seen. A share then has Wilson's interval of as many samples; another metric has an interval without width.

    Args:
        evidence: what ``metric.evidence`` gives of the network.
        confidence: in (0, 1).
        seed: of the draws.

    Raises:
        EdgekdError: there is no sample, or the metric is no number.
    """
    if metric.test == "mcnemar":
        if not isinstance(evidence, Correct):
            raise EdgekdError(f"{metric.name} is a share: its evidence must say which samples are right")
        return wilson_interval(sum(map(bool, evidence.correct)), evidence.n, confidence)
    from edgekd.stats.bootstrap import TIE, bootstrap_bounds, bootstrap_values, draws_for

    one_sided, value = (1 + confidence) / 2, evidence.value() if evidence.n else math.nan
    if not math.isfinite(value) or not len(values := bootstrap_values(evidence, draws_for(one_sided), seed)):
        raise EdgekdError(f"{metric.name} is no number: look at the network's outputs")
    if metric.unit == "%" and values.max() - values.min() < TIE:
        return wilson_interval(min(value, 1.0) * evidence.n, evidence.n, confidence)
    return bootstrap_bounds(values, value, evidence.n, one_sided)


def noise(metric: Metric, n: int, first: float, second: float, evidence: Callable[[], Evidence]) -> float:
    """Return two standard errors of the difference of two networks' values: what the samples cannot distinguish from 0.

    Args:
        n: the number of samples.
        first, second: the values.
        evidence: gives that of one of the networks, or of one like them; called where values are not enough.
    """
    if metric.test == "mcnemar":
        mean = (first + second) / 2
        return 2 * math.sqrt(2 * mean * (1 - mean) / n)
    from edgekd.stats.bootstrap import bootstrap_error

    return 2 * math.sqrt(2) * bootstrap_error(evidence())


def _right_or_wrong(metric: Metric, before: Evidence, after: Evidence, confidence: float) -> MetricDifference:
    if not isinstance(before, Correct) or not isinstance(after, Correct):
        raise EdgekdError(f"{metric.name} is compared by McNemar's test: its evidence must say which samples are right")
    # An array of bools is as good a sequence of them as any.
    ours, theirs = (cast("Sequence[bool]", each.correct) for each in (before, after))
    found = drop(ours, theirs, confidence)
    return MetricDifference(
        before=before.value(),
        after=after.value(),
        drop=found.value,
        lower=found.at_least,
        upper=found.at_most,
        interval=drop_interval(found.lost, found.won, before.n, confidence),
        p=found.p,
        n=before.n,
        lost=found.lost,
        won=found.won,
    )


def _resampled(metric: Metric, before: Evidence, after: Evidence, confidence: float, seed: int) -> MetricDifference:
    from edgekd.stats.bootstrap import bootstrap_bounds, bootstrap_differences, draws_for, randomisation_p

    values, draws = (before.value(), after.value()), draws_for(confidence)
    if not all(map(math.isfinite, values)):
        raise EdgekdError(f"{metric.name} is no number for one of the two networks: look at its outputs")
    if _are_same(before, after):  # as of a network that nobody changed
        return MetricDifference(*values, drop=0.0, lower=0.0, upper=0.0, interval=(0.0, 0.0), p=1.0, n=before.n)
    better, worse = (before, after) if metric.better == "higher" else (after, before)
    try:
        joined = better.joined(worse)
    except ValueError as error:
        raise EdgekdError(
            f"{metric.name}: the two networks predict other classes, labels or values ({first_line(error)}): give both "
            "networks' predictions for one test set"
        ) from error
    differences, lost = bootstrap_differences(better, worse, draws, seed), metric.drop(*values)
    of_drop, of_gain = randomisation_p(joined, lost, draws, seed)

    def bounds(confidence: float) -> tuple[float, float]:
        low, high = bootstrap_bounds(differences, lost, before.n, confidence)
        alpha = 1 - confidence
        return low if of_drop < alpha else min(low, 0.0), high if of_gain < alpha else max(high, 0.0)

    lower, upper = bounds(confidence)
    return MetricDifference(
        *values,
        drop=lost,
        lower=lower,
        upper=upper,
        interval=bounds((1 + confidence) / 2),
        p=of_drop,
        n=before.n,
    )


def _are_same(before: Evidence, after: Evidence) -> bool:
    import numpy as np

    theirs = after.arrays()
    return all(np.array_equal(rows, theirs[name]) for name, rows in before.arrays().items())
