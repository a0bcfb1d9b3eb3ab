"""One arm of a search as its trials have left it: the costs and the quality of its shares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from edgekd.records.candidate_figures import Figures
from edgekd.report.candidate_cost import cost_between, cost_ratio
from edgekd.search.goal import LATENCY, SIZE, Goal
from edgekd.search.quality_curve import EXPECTED_NOISE, Noise, Point, QualityCurve

# How often the smallest share is moved up where no cut reaches it, and how many trainings may fail one after another.
MOST_FAILURES = 3
# Two shares nearer than this, in logarithms, are one.
NEAR = 0.02
# Predicted costs are as far off, so the largest share within a bound leaves it some room.
ROOM = 0.97
# Of an arm, to find its largest share within the bounds.
MOST_PRICES = 8
# After so many costs that were those of a trained network, shares near it are taken for it, too.
ENOUGH_ALIKE = 2


@dataclass(frozen=True)
class ArmSpace:
    """The part of a space that one arm has.

    Attributes:
        low, high: the range of shares that a cut may keep; both are 1 where nothing is cut.
        levels: how many lengths of training there are, the last one the longest.
        open: the values of each dimension that is neither a cut nor a length of training, the usual one first.
    """

    name: str
    low: float = 1.0
    high: float = 1.0
    levels: int = 1
    open: tuple[tuple[str, tuple[object, ...]], ...] = ()

    @property
    def is_cut(self) -> bool:
        """Tell whether there is a share to choose."""
        return self.low < self.high

    @property
    def top(self) -> int:
        """Return the level of the longest training."""
        return self.levels - 1


@dataclass(frozen=True)
class TrialRecord:
    """A trained candidate: where it is in the space, and its figures or why it has none.

    Attributes:
        number: of its run folder.
        choices: values of the dimensions that are neither a cut nor a length of training.
    """

    number: int
    arm: str
    share: float
    level: int
    figures: Figures | None = None
    error: str | None = None
    seconds: float = 0.0
    choices: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class TimeFactors:
    """A measured time over the predicted one: of the ratio to the teacher's time, and of its milliseconds."""

    ratio: float
    ms: float


def time_factors(
    prices: Mapping[float, Figures | None], share: float, ratio: float | None, ms: float | None
) -> TimeFactors | None:
    """Return what was measured at ``share`` over what ``prices`` predict; None where they have no times.

    Args:
        ratio: of the candidate's time to the teacher's, as it was measured.
        ms: its milliseconds; either is None where it was not measured, and then has the other's factor.
    """
    timed = {each: figures for each, figures in prices.items() if figures and figures.ms and figures.teacher_ms}
    if not timed or not (ratio or ms):
        return None
    predicted = {at: cost_ratio(each, LATENCY, True) for at, each in timed.items()}
    of_ratio = ratio and ratio / cost_between(share, predicted)
    of_ms = ms and ms / cost_between(share, {at: each.ms or 0.0 for at, each in timed.items()})
    return TimeFactors(of_ratio or of_ms or 1.0, of_ms or of_ratio or 1.0)


@dataclass(frozen=True)
class ArmState:
    """An arm with what is known of it.

    Attributes:
        prices: figures of untrained networks by share, None where no cut reaches that share.
        trials: its trained candidates, oldest first.
        noise: of their drops.
        timed: measured over predicted times, by the shares of the candidates that were timed. Predictions go by them.
        refused: why the last share that has no figures has none, or None.
    """

    space: ArmSpace
    goal: Goal
    prices: Mapping[float, Figures | None]
    trials: Sequence[TrialRecord] = ()
    noise: Noise = EXPECTED_NOISE
    timed: Mapping[float, TimeFactors] = field(default_factory=dict)
    refused: str | None = None

    @property
    def name(self) -> str:
        return self.space.name

    def to_price(self) -> list[float]:
        """Return the shares whose cost is asked for before any training."""
        low, high = rounded(self.space.low), rounded(self.space.high)
        if not self.space.is_cut:
            return [] if high in self.prices else [high]
        if first := [share for share in (low, high) if share not in self.prices]:
            return first
        failed = [share for share, figures in self.prices.items() if figures is None]
        if failed and self.priced and len(failed) <= MOST_FAILURES and max(failed) < min(self.priced) * 0.8:
            return [middle(max(failed), min(self.priced))]
        return []

    @cached_property
    def priced(self) -> dict[float, Figures]:
        """Return the figures of the shares that can be reached, from the smallest share to the largest."""
        known = sorted((share, figures) for share, figures in self.prices.items() if figures is not None)
        return {share: self._as_timed(share, figures) for share, figures in known}

    def _as_timed(self, share: float, figures: Figures) -> Figures:
        """Correct times by those of the candidates that were timed, on a line of logarithms between their shares."""
        if not self.timed or figures.ms is None or figures.teacher_ms is None:
            return figures
        shares = sorted(self.timed)
        found = np.log([[self.timed[each].ratio, self.timed[each].ms] for each in shares])
        ratio, ms = (float(np.exp(np.interp(np.log(share), np.log(shares), each))) for each in found.T)
        return replace(figures, ms=figures.ms * ms, teacher_ms=figures.teacher_ms * ms / ratio)

    @cached_property
    def reach(self) -> tuple[float, float] | None:
        """Return the smallest and the largest share that a cut reaches and that keep the bounds on costs, if any do."""
        # A smaller share costs no more than a larger one: of times that say otherwise, the lower one counts.
        if self.least_excess > 1:
            return None
        low, high = min(self.priced), max(self.priced)
        excess = {share: self.goal.excess(figures) for share, figures in self.priced.items()}
        shares = np.geomspace(low, high, 97)
        within = [share for share in shares if cost_between(share, excess) <= ROOM]
        return low, rounded(float(within[-1])) if within else low

    @property
    def largest(self) -> float:
        """Return the largest share that is known to keep the bounds on costs, or the one whose cost is to be asked for.

        That one is by the line between two costs, beside which the cost of a cut may lie.
        """
        assert self.reach is not None
        low, high = self.reach
        known = max((share for share, each in self.priced.items() if self.goal.excess(each) <= ROOM), default=low)
        is_found = high in self.prices or np.log(high / known) < NEAR or len(self.prices) >= MOST_PRICES
        return known if is_found else high

    @property
    def largest_left(self) -> float:
        """Return :attr:`largest`, or a smaller share where the file of what was trained exceeds a bound on its size."""
        assert self.reach is not None
        files = {each.share: own for each in self.points(self.space.top) if (own := self._sizes(each))}
        over = {share: most for share, own in files.items() if (most := self.goal.excess(own)) > 1}
        # Predictions go by measured times already.
        found = min([self.largest, *(ROOM * share / most for share, most in over.items())])
        return rounded(max(found, self.reach[0]))

    @property
    def least_excess(self) -> float:
        """Return the least of what it exceeds a bound on costs by, as a factor."""
        return min((self.goal.excess(figures) for figures in self.priced.values()), default=float("inf"))

    def excess(self, trial: TrialRecord) -> float:
        """Return the largest of its costs over their bounds, as they are predicted, or measured where it was timed.

        Its own file may be larger than that of an untrained network: other channels went, or layers stayed in float.
        """
        if not self.priced:
            return 0.0
        predicted, own = self._interpolated(trial.share, self.goal.excess), self._sizes(trial)
        return max(predicted, self.goal.excess(own)) if own else predicted

    def cost(self, share: float) -> float:
        """Return the predicted cost at ``share``, between those that were priced."""
        return self._interpolated(share, self.goal.cost)

    def cost_of(self, trial: TrialRecord) -> float:
        """Return the predicted cost of a trained candidate, or of a larger file that it has where size is the cost."""
        predicted, own = self.cost(trial.share), self._sizes(trial)
        return max(predicted, self.goal.cost(own)) if own and self.goal.objective == SIZE else predicted

    def _sizes(self, trial: TrialRecord) -> Figures | None:
        """Return the figures of a trial without times; None where it has no file."""
        is_filed = trial.figures is not None and trial.level == self.space.top
        return replace(trial.figures, ms=None, teacher_ms=None) if trial.figures and is_filed else None

    def cheaper(self, share: float, cost: float) -> float:
        """Return ``share``, or the largest one below it that costs no more than ``cost``; the smallest if none does."""
        assert self.reach is not None
        shares = np.geomspace(self.reach[0], share, 97)
        within = [each for each in shares if self.cost(each) <= cost]
        return share if self.cost(share) <= cost else rounded(float(within[-1] if within else shares[0]))

    def points(self, level: int) -> list[TrialRecord]:
        """Return the trials of one length of training that gave a network, with the values that were chosen."""
        return [trial for trial in self._chosen_trials if trial.level == level and trial.figures]

    @property
    def trained(self) -> bool:
        """Tell whether a training gave a network, of any length."""
        return any(self.points(level) for level in range(self.space.levels))

    @property
    def failure(self) -> str | None:
        """Return why no more of it is trained with the values that were chosen, or None.

        It is None while the last trial gave a network, or others did and a larger share is left to try.
        """
        found = self._chosen_trials
        if not found or found[-1].figures:
            return None
        worked = any(trial.figures for trial in found[-MOST_FAILURES:])
        goes_on = worked and self.reach is not None and self.above_failed(self.reach[0]) is not None
        return None if goes_on else found[-1].error

    def above_failed(self, share: float) -> float | None:
        """Return ``share``, or where one as large gave no network a larger one; None where there is none left.

        That is halfway to the next share that gave a network, or to the largest within the bounds on costs.
        """
        assert self.reach is not None
        high = self.reach[1]
        failed = [trial.share for trial in self._chosen_trials if not trial.figures]
        failed += [each for each, figures in self.prices.items() if figures is None and each < high]
        if not failed or np.log(share / max(failed)) >= NEAR:
            return share
        worst = max(failed)
        larger = [trial.share for trial in self._chosen_trials if trial.figures and trial.share > worst]
        between = middle(worst, min([*larger, high]))
        return between if np.log(between / worst) >= NEAR else None

    @property
    def chosen(self) -> Mapping[str, object]:
        """Return the values of its open dimensions that differ from the usual ones."""
        return self._tuning[0]

    @property
    def to_try(self) -> Mapping[str, object] | None:
        """Return values of its open dimensions to try next in a short training, or None if all were tried."""
        return self._tuning[1]

    @cached_property
    def _chosen_trials(self) -> list[TrialRecord]:
        return [trial for trial in self.trials if trial.choices == self.chosen]

    @cached_property
    def _tuning(self) -> tuple[dict[str, object], dict[str, object] | None]:
        """One dimension after another: a value takes the place of the one before if it is better beyond its error."""
        chosen: dict[str, object] = {}
        for name, values in self.space.open:
            best, found = chosen, self._short(chosen)
            if found is None:
                return chosen, chosen
            for value in values[1:]:
                other = {**chosen, name: value}
                tried = self._short(other)
                if tried is None:
                    return chosen, other
                if tried.figures and (not found.figures or self._is_better(tried.figures, found.figures)):
                    best, found = other, tried
            chosen = best
        return chosen, None

    def _is_better(self, figures: Figures, than: Figures) -> bool:
        """Tell whether figures are better beyond their error, by what is bounded where a cost is made best."""
        if not self.goal.is_cost:
            return figures.drop < than.drop - figures.error
        drop, error = self.goal.drop(figures)
        return drop < self.goal.drop(than)[0] - error

    def _short(self, choices: Mapping[str, object]) -> TrialRecord | None:
        return next((trial for trial in self.trials if trial.level == 0 and trial.choices == choices), None)

    @property
    def has_curve(self) -> bool:
        """Tell whether there is a bound on the metric, and a share within the bounds on costs."""
        return self.reach is not None and self.goal.allowed is not None

    def curve(self, level: int) -> QualityCurve:
        """Return the drop over the share after one length of training, by its trials of all lengths."""
        assert self.reach is not None and self.goal.allowed is not None
        trials = [trial for each in range(self.space.levels) for trial in self.points(each)]
        points, shorter = tuple(map(self._point, trials)), self.space.top - level
        return _curve(points, *self.reach, self.goal.allowed, self.noise, shorter)

    def assurance(self, trial: TrialRecord) -> float:
        """Return the probability that a trained candidate keeps the metric's bound on the test samples."""
        return self.curve(trial.level).assurance_of(self._point(trial)) if self.has_curve else 1.0

    def drop(self, trial: TrialRecord) -> tuple[float, float]:
        """Return the mean and the standard deviation of a trained candidate's drop, by it and the others of its arm."""
        return self.curve(trial.level).of_trained(self._point(trial))

    def macs_at(self, share: float) -> int | None:
        """Return the multiply-accumulates of the network that a cut to ``share`` gives, or None if they are not known.

        Widths are rounded: where two shares give one network, all between them give it too. A network of layers that
        are not counted has none, and is not told by them.
        """
        found = {self.priced[each].macs if each is not None else None for each in self._around(share)}
        return found.pop() or None if len(found) == 1 else None

    def same_network(self, share: float, trial: TrialRecord) -> bool:
        """Tell whether a cut to ``share`` gives the network of ``trial``."""
        ours, theirs = self.macs_at(share), self.macs_at(trial.share)
        if ours is not None and theirs is not None:
            return ours == theirs
        return bool(abs(np.log(share / trial.share)) < NEAR)

    def is_probably_trained(self, share: float) -> bool:
        """Tell whether a cut to ``share``, whose network is not known, may give one that is trained.

        It is as near to shares that do as these are to each other, and their costs were asked for in vain.
        """
        is_known = self.macs_at(share) is not None
        return not is_known and any(self._gave_trained(each, share) for each in self._around(share) if each is not None)

    def _around(self, share: float) -> tuple[float | None, float | None]:
        """Return the nearest known shares, up to ``share`` and from it on."""
        below = max((each for each in self.priced if each <= share), default=None)
        return below, min((each for each in self.priced if each >= share), default=None)

    def _gave_trained(self, near: float, share: float) -> bool:
        macs = self.macs_at(near)
        if macs is None:
            return False
        alike = [each for each, figures in self.priced.items() if figures.macs == macs]
        trained = {trial.share for trial in self.points(self.space.top)}.intersection(alike)
        is_near = abs(np.log(share / near)) <= np.log(max(alike) / min(alike))
        return bool(trained) and len(alike) - len(trained) >= ENOUGH_ALIKE and bool(is_near)

    def _point(self, trial: TrialRecord) -> Point:
        assert trial.figures is not None
        return Point(trial.share, *self.goal.drop(trial.figures), self.space.top - trial.level)

    def _interpolated(self, share: float, of: Callable[[Figures], float]) -> float:
        return cost_between(share, {known: of(figures) for known, figures in self.priced.items()})


@lru_cache(maxsize=256)
def _curve(
    points: tuple[Point, ...], low: float, high: float, allowed: float, noise: Noise, shorter: int
) -> QualityCurve:
    """A search asks for the same curves again and again."""
    return QualityCurve(points, low, high, allowed, noise, shorter)


def rounded(share: float) -> float:
    """Round a share to four digits, as the record holds it; one that would be none or all of a network stays."""
    found = round(share, 4)
    return found if 0 < found < 1 else share


def middle(low: float, high: float) -> float:
    """Return the geometric mean of two shares."""
    return rounded(float(np.sqrt(low * high)))
