"""The decisions of a search: what is tried next follows from what was tried, and from nothing else.

Costs are known before any training, since a file's time and size hardly depend on its weights. Arms that miss a bound
on costs are left. Of the others short trainings choose the best half, again with longer ones until three are left
(successive halving; Jamieson and Talwalkar 2016). In these the smallest share that keeps the budget is looked for on
a :class:`~edgekd.search.quality_curve.QualityCurve`, always in the arm whose next candidate would be the cheapest,
while one is expected to save enough (expected improvement under a constraint; Gardner et al. 2014).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf

from edgekd.formatting import exceeds, format_distinct, shortest
from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmState, TrialRecord, middle, rounded
from edgekd.search.goal import Goal

# The probability at which a candidate counts as keeping the budget, and at which an arm is given up.
ASSURED, HOPELESS = 0.9, 0.15
# While nothing is assured, the smallest share is trained that is as probable to be.
LIKELY = 0.5
# Of an arm, with the longest training.
MOST_TRIALS = 8
# So many arms are bisected; halving leaves no fewer.
FINALISTS = 3
# An arm's first candidate costs no more than so much of the best one so far: whether it keeps the budget is not known.
CHEAPER = 0.9
# A training is worth it that is expected to save so much of the best one's cost; costs nearer than this are alike.
SAVING = 0.02
# So many times the least cost may be the least when it is measured.
AS_CHEAP = 1.1
# Of a search in which all failed, so many errors are said.
MOST_ERRORS = 3


@dataclass(frozen=True)
class Price:
    """A request for the costs of an arm at a share, with an untrained network."""

    arm: str
    share: float


@dataclass(frozen=True)
class TrainCandidate:
    """A request for one trained candidate."""

    arm: str
    share: float
    level: int
    choices: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Finish:
    """The end of a search: ``best`` first, then others that could be as cheap when they are timed.

    Attributes:
        assurance: the probability that the best one keeps the budget's metric on the test samples.
        reason: why no better one is looked for.
        unreachable: what keeps the budget out of reach, or None if it can be met.
    """

    best: Sequence[TrialRecord]
    assurance: float | None
    reason: str
    unreachable: str | None = None


Action = Price | TrainCandidate | Finish


@dataclass(frozen=True)
class Study:
    """The state of a search.

    Attributes:
        arms: in the order of the space.
    """

    goal: Goal
    arms: Sequence[ArmState]
    left: dict[str, str] = field(default_factory=dict)
    """Why arms are not followed any more, by name; filled by :meth:`next`."""

    def next(self) -> Action:
        """Return what to do next, where one thing is done at a time."""
        return self.steps()[0]

    def steps(self) -> Sequence[Action]:
        """Return what can be done now, each in an arm of its own, the most useful first.

        None of them waits for another's result, so they may be done at the same time.
        """
        self.left.clear()
        if prices := [Price(arm.name, shares[0]) for arm in self.arms if (shares := arm.to_price())]:
            return prices
        within = [arm for arm in self.arms if self._keeps_costs(arm)]
        if not within:
            return [self._out_of_reach()]
        if others := self._tuning([arm for arm in within if arm.failure]):
            return others
        alive, short = self._halve([arm for arm in within if self._works(arm)])
        if steps := short or self._tuning(alive):
            return steps
        return self._bisect(alive) if self.goal.is_cost else self._best_of(alive)

    def finish(self, reason: str) -> Finish:
        """End with the best so far; one of a short training where no long one is likely to keep the budget."""
        every = [trial for arm in self.arms for level in range(arm.space.levels) for trial in arm.points(level)]
        every = self._within(every) or sorted(every, key=self._excess)[:1]
        longest = [trial for trial in every if trial.level == self._arm(trial).space.top]
        if not every or not self.goal.is_cost or self.goal.allowed is None:
            return self._finish(longest or every, reason)
        assured = [trial for trial in every if self._is_assured(trial)]
        if any(trial in longest for trial in assured):
            return self._finish(longest, reason)
        best = min(assured, key=self._cost_of) if assured else max(every, key=self._assurance)
        return self._finish([best], reason)

    def compared_with(self, winner: TrialRecord) -> list[TrialRecord]:
        """Return ``winner`` and all that it was the best of, where quality is made best, whatever their values are."""
        every = [trial for arm in self.arms for trial in arm.trials if trial.figures and trial.level == arm.space.top]
        return [winner, *(trial for trial in self._within(every) if trial.number != winner.number)]

    @property
    def too_much(self) -> str | None:
        """Return which bounds on costs no student keeps, and the nearest one's; None where one does, or costs lack."""
        if any(arm.to_price() or arm.reach for arm in self.arms) or not self._possible:
            return None
        figures, bounds = self._nearest[2], self.goal.bounds
        return "; ".join(
            f"{name}: {bounds[name]:.12g} is asked for, and the nearest student is predicted at "
            f"{format_distinct([value, bounds[name]], shortest, 3)[0]}"
            for name, value in self.goal.bounded(figures).items()
            if value > bounds[name]
        )

    def finish_out_of_reach(self) -> Finish:
        """End where no student keeps the bounds on costs, with those that come nearest and were trained long."""
        done = sorted((trial for arm in self._possible for trial in arm.points(arm.space.top)), key=self._excess)
        reason = "no student that can be made is within the bounds on costs"
        return Finish(done[:FINALISTS], None, reason, self.too_much)

    @property
    def is_hopeless(self) -> bool:
        """Tell whether no arm is likely to keep the budget at its largest share, after its longest training so far."""
        alive = [arm for arm in self.arms if arm.reach and arm.name not in self.left]
        if self.goal.allowed is None or not alive:
            return False
        return all(arm.trained and self._at_its_largest(arm) < HOPELESS for arm in alive)

    @staticmethod
    def _at_its_largest(arm: ArmState) -> float:
        assert arm.reach is not None
        level = max(level for level in range(arm.space.levels) if arm.points(level))
        return arm.curve(level).assurance(arm.reach[1])

    def _keeps_costs(self, arm: ArmState) -> bool:
        if arm.reach is None:
            why = f"no student of it can be made: {arm.refused}" if arm.refused else "no cut of it can be made"
            if arm.priced:
                why = f"even its cheapest student is predicted at {shortest(arm.least_excess)} times a bound"
            self.left[arm.name] = why
        return arm.reach is not None

    def _works(self, arm: ArmState) -> bool:
        if arm.failure:
            self.left[arm.name] = f"its training failed: {arm.failure}"
        return not arm.failure

    def _out_of_reach(self) -> Action:
        if not self._possible:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.left.items())
            return Finish((), None, "no student can be made", reasons)
        nearest, share, _ = self._nearest
        finish = self.finish_out_of_reach()
        if not finish.best or self._is_much_nearer(nearest, finish.best[0]):
            return TrainCandidate(nearest.name, share, nearest.space.top, nearest.chosen)
        return finish

    @property
    def _possible(self) -> list[ArmState]:
        return [arm for arm in self.arms if arm.priced and (arm.trained or not arm.failure)]

    @property
    def _nearest(self) -> tuple[ArmState, float, Figures]:
        """Return the arm, the share and the figures that exceed the bounds on costs by the least."""
        arm = min(self._possible, key=lambda arm: arm.least_excess)
        share = min(arm.priced, key=lambda share: self.goal.excess(arm.priced[share]))
        return arm, share, arm.priced[share]

    def _is_much_nearer(self, arm: ArmState, trial: TrialRecord) -> bool:
        return not arm.points(arm.space.top) and arm.least_excess < CHEAPER * self._excess(trial)

    def _tuning(self, arms: Sequence[ArmState]) -> list[Price | TrainCandidate]:
        return [self._priced(arm, self._probe(arm), 0, arm.to_try) for arm in arms if arm.to_try is not None]

    @staticmethod
    def _priced(arm: ArmState, share: float, level: int, choices: Mapping[str, object]) -> Price | TrainCandidate:
        """Train it; or ask for its costs first, where it may win."""
        if level == arm.space.top and share not in arm.prices and arm.macs_at(share) is None:
            return Price(arm.name, share)
        return TrainCandidate(arm.name, share, level, choices)

    def _halve(self, arms: list[ArmState]) -> tuple[list[ArmState], list[Price | TrainCandidate]]:
        """Return the arms that long trainings are spent on, or the short ones by which they are chosen."""
        for level in range(max((arm.space.top for arm in arms), default=0)):
            if len(arms) <= FINALISTS:
                break
            lengths = [(arm, min(level, arm.space.top)) for arm in arms]
            if missing := [(arm, own) for arm, own in lengths if not arm.points(own)]:
                shares = [arm.above_failed(self._probe(arm)) or self._probe(arm) for arm, _ in missing]
                return arms, [
                    self._priced(arm, share, own, arm.chosen) for (arm, own), share in zip(missing, shares, strict=True)
                ]
            kept = max(FINALISTS, ceil(len(arms) / 2))
            drop = self._compared_at(arms, level, kept)
            arms = sorted(arms, key=lambda arm: self._rank(arm, level, drop))
            for arm in arms[kept:]:
                self.left[arm.name] = f"others were better after short trainings (level {level + 1})"
            arms = arms[:kept]
        return [arm for arm in self.arms if arm in arms], []

    def _probe(self, arm: ArmState) -> float:
        assert arm.reach is not None
        low, high = arm.reach
        return middle(low, high) if self.goal.is_cost and self.goal.allowed is not None else arm.largest

    def _compared_at(self, arms: Sequence[ArmState], level: int, kept: int) -> float | None:
        """Return the drop at which arms' costs are compared: what is allowed, or more where too few come that near.

        A longer training will lower them all. Of the arms that are left, half are for their quality: they come near to
        no such drop. The others are for their cost.
        """
        if self.goal.allowed is None or not self.goal.is_cost:
            return None
        least = sorted(arm.curve(min(level, arm.space.top)).least for arm in arms)
        return max(self.goal.allowed, least[kept + ceil((len(arms) - kept) / 2) - 1])

    def _rank(self, arm: ArmState, level: int, compared_at: float | None) -> tuple[float, float]:
        """Return the cost at which the arm should have the drop at which arms are compared, then its least drop."""
        own = min(level, arm.space.top)
        drop = min(trial.figures.drop for trial in arm.points(own) if trial.figures)
        if not self.goal.is_cost:
            return drop, 0.0
        if compared_at is None:
            return min(arm.cost(trial.share) for trial in arm.points(own)), drop
        curve = arm.curve(own)
        share = curve.smallest_within(compared_at)
        return (arm.cost(share) if share is not None else inf), curve.least

    def _best_of(self, arms: Sequence[ArmState]) -> Sequence[Action]:
        """Where quality is made best, each arm is cut as little as the bounds on costs allow."""
        missing = [arm for arm in arms if not self._within(arm.points(arm.space.top))]
        shares = [(arm, self._untried(arm, arm.largest_left)) for arm in missing]
        if steps := [self._priced(arm, share, arm.space.top, arm.chosen) for arm, share in shares if share is not None]:
            return steps
        trained = self._within([trial for arm in self.arms for trial in arm.points(arm.space.top)])
        return [self._finish(trained, "every arm was tried") if trained else self.finish(self._nothing_within)]

    def _bisect(self, arms: Sequence[ArmState]) -> Sequence[Action]:
        # An arm that is not followed any more may have the best one all the same.
        trained = self._within([trial for arm in self.arms if arm.reach for trial in arm.points(arm.space.top)])
        good = [trial for trial in trained if self._is_assured(trial)]
        best = min((self._cost_of(trial) for trial in good), default=inf)
        found = [(arm, share) for arm in arms if (share := self._next_share(arm, best)) is not None]
        if worth := sorted(found, key=lambda each: each[0].cost(each[1])):
            return [self._priced(arm, share, arm.space.top, arm.chosen) for arm, share in worth]
        if trained:
            return [self._finish(trained, "no cheaper candidate is likely to keep the budget")]
        return [self.finish(self._nothing_within)]

    def _next_share(self, arm: ArmState, best: float) -> float | None:
        """Return the share to try next in an arm, above those that failed, or None where no cheaper one is."""
        share = self._step(arm, best)
        found = None if share is None else self._untried(arm, share)
        return found if found is not None and arm.cost(found) <= (1 - SAVING) * best else None

    @staticmethod
    def _untried(arm: ArmState, share: float) -> float | None:
        found, done = arm.above_failed(share), arm.points(arm.space.top)
        return None if found is None or any(arm.same_network(found, trial) for trial in done) else found

    def _step(self, arm: ArmState, best: float) -> float | None:
        """Return the share to try next in an arm, or None if it is done; ``best`` is the least cost so far."""
        assert arm.reach is not None
        low, high = arm.reach
        done = arm.points(arm.space.top)
        if self.goal.allowed is None:
            return low if not done else None
        if not arm.trained:
            return arm.cheaper(middle(low, high), CHEAPER * best)
        if len(done) >= MOST_TRIALS:
            return None
        curve = arm.curve(arm.space.top)
        if any(arm.same_network(high, trial) for trial in done) and curve.assurance(high) < HOPELESS:
            drop, error = curve.at(high)
            self.left[arm.name] = f"at its largest within the bounds it is {self.goal.compared(drop, error)}"
            return None
        return self._most_useful(arm, best)

    def _most_useful(self, arm: ArmState, best: float) -> float | None:
        """Return the share that is expected to save the most; where nothing is assured yet, the smallest possible."""
        done, curve = arm.points(arm.space.top), arm.curve(arm.space.top)
        of_shares = zip(map(rounded, curve.shares.tolist()), curve.chances(ASSURED).tolist(), strict=True)
        chances = {
            share: chance
            for share, chance in of_shares
            if not any(arm.same_network(share, trial) for trial in done) and not arm.is_probably_trained(share)
        }
        if not chances:
            return None
        if best == inf:
            likely = [share for share, chance in chances.items() if chance >= LIKELY]
            share = min(likely) if likely else max(chances)
            if not done or chances[share] >= HOPELESS:
                return share
            # Where samples are too few to show that any student keeps the budget, the largest is the surest.
            is_surest = share > max(trial.share for trial in done)
            return share if is_surest and curve.assurance(share) >= HOPELESS else None
        savings = {share: chance * (1 - arm.cost(share) / best) for share, chance in chances.items()}
        share = max(savings, key=lambda each: savings[each])
        return share if savings[share] >= SAVING else None

    def _finish(self, trained: Sequence[TrialRecord], reason: str) -> Finish:
        if not trained:
            return Finish((), None, reason, self._why_none)
        if self.goal.allowed is None or not self.goal.is_cost:
            ranked = sorted(trained, key=self._cost_of if self.goal.is_cost else self._quality)
            return Finish(ranked[:1], self._assurance(ranked[0]), reason)
        good = sorted((trial for trial in trained if self._is_assured(trial)), key=self._cost_of)
        if good:
            near = [trial for trial in good if self._cost_of(trial) <= AS_CHEAP * self._cost_of(good[0])]
            return Finish(near[:3], self._assurance(good[0]), reason)
        surest = max(trained, key=self._assurance)
        assurance = self._assurance(surest)
        unsure = f"{reason}; none keeps it with a probability of {ASSURED:.0%}, the surest with {assurance:.0%}"
        return Finish([surest], assurance, unsure, self._what_it_takes(surest) if assurance < HOPELESS else None)

    @property
    def _why_none(self) -> str:
        errors = [*dict.fromkeys(trial.error for arm in self.arms for trial in arm.trials if trial.error)]
        more = [f"and {len(errors) - MOST_ERRORS} other failures"] if len(errors) > MOST_ERRORS else []
        why = f": {'; '.join([*errors[:MOST_ERRORS], *more])}" if errors else ""
        return f"no candidate was trained to its end{why}"

    def _quality(self, trial: TrialRecord) -> tuple[bool, bool, float]:
        """Return the drop of what is made best, after whether a metric exceeds its bound, or may do so.

        Where what is made best is what is bounded, the least drop is the surest.
        """
        assert trial.figures is not None
        most, of_another = self.goal.allowed, bool(self.goal.metric or self.goal.others)
        unsure = of_another and not self._is_assured(trial)
        return unsure, most is not None and exceeds(self.goal.drop(trial.figures)[0], most), trial.figures.drop

    def _what_it_takes(self, trial: TrialRecord) -> str:
        arm = self._arm(trial)
        assert self.goal.allowed is not None and trial.figures is not None
        if self.goal.others:
            return f"the nearest student, {arm.name}, is {self.goal.exceeded(trial.figures)}"
        allowed = f"{self.goal.shown(self.goal.allowed)} allowed"
        return f"the nearest student, {arm.name}, is {self.goal.compared(*arm.drop(trial))}, with {allowed}"

    def _is_assured(self, trial: TrialRecord) -> bool:
        return self._assurance(trial) >= ASSURED

    def _assurance(self, trial: TrialRecord) -> float:
        return self._arm(trial).assurance(trial)

    @property
    def _nothing_within(self) -> str:
        works = any(arm.points(arm.space.top) for arm in self.arms)
        return "no file of a trained student is within the bounds on costs" if works else "every arm failed"

    def _within(self, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Return those that keep the bounds on costs; a measured time may exceed one that the prediction kept."""
        return [trial for trial in trials if self._excess(trial) <= 1]

    def _excess(self, trial: TrialRecord) -> float:
        return self._arm(trial).excess(trial)

    def _cost_of(self, trial: TrialRecord) -> float:
        return self._arm(trial).cost_of(trial)

    def _arm(self, trial: TrialRecord) -> ArmState:
        return next(arm for arm in self.arms if arm.name == trial.arm)
