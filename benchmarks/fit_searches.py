"""The searches that benchmarks/fit.py compares, on students that a grid looks up.

All of them know a student's cost before it is trained, and train nothing that exceeds a bound on costs. What a search
is charged for are the epochs of the stages that it has not trained before, the teacher's left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

import numpy as np
from fit_grid import Grid
from fit_space import Case
from fit_students import StageCost, Trained

from edgekd.pipeline.candidate import likeness
from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmState, TrialRecord
from edgekd.search.quality_curve import Noise
from edgekd.search.shared_noise import with_shared_noise
from edgekd.search.study import Finish, Price, Study
from edgekd.tasks.metric import Correct

Suggest = Callable[[], Iterator[tuple[tuple[str, float], Callable[[Trained], None]]]]


@dataclass
class Ledger:
    """The stages that a search has trained, with their costs."""

    stages: dict[str, StageCost] = field(default_factory=dict)
    students: list[Trained] = field(default_factory=list)
    spent: list[int] = field(default_factory=list)

    def charge(self, student: Trained) -> None:
        self.stages |= {each.key: each for each in student.stages}
        self.students.append(student)
        self.spent.append(self.epochs)

    @property
    def epochs(self) -> int:
        return sum(each.epochs for each in self.stages.values())

    @property
    def seconds(self) -> float:
        return sum(each.seconds for each in self.stages.values())


@dataclass(frozen=True)
class Ended:
    """A search that is over: its winner, None where it found nothing within the bounds on costs."""

    winner: Trained | None
    ledger: Ledger
    unreachable: str | None = None


@dataclass
class Candidates:
    """The candidates of fit's study on the grid, with one seed and one budget."""

    grid: Grid
    seed: int
    case: Case
    trials: list[TrialRecord] = field(default_factory=list)
    students: list[Trained] = field(default_factory=list)
    prices: dict[str, dict[float, Figures | None]] = field(default_factory=dict)

    @property
    def study(self) -> Study:
        noise = Noise(test_error(self.grid, self.seed))
        arms = [
            ArmState(
                arm,
                self.case.goal,
                self.prices.get(arm.name, {}),
                [each for each in self.trials if each.arm == arm.name],
                noise,
            )
            for arm in self.grid.arms
        ]
        return Study(self.case.goal, with_shared_noise(arms))

    def price(self, arm: str, *shares: float) -> None:
        """Take the costs of the student that is nearest to the last of ``shares`` for all of them."""
        figures = self.grid.top(self.seed, arm, shares[-1]).figures
        self.prices.setdefault(arm, {}).update(dict.fromkeys(shares, figures))

    def add(self, student: Trained) -> None:
        number, error = len(self.trials) + 1, None if student.figures else "no cut reaches it"
        figures = student.figures and replace(student.figures, likeness=self._likeness(student))
        trial = TrialRecord(number, student.arm, student.share, student.level, figures, error)
        self.trials.append(trial)
        self.students.append(student)

    def winner(self, finish: Finish) -> Trained | None:
        return self.students[finish.best[0].number - 1] if finish.best else None

    def _likeness(self, student: Trained) -> float | None:
        """Return the likeness, as of a candidate of the command, whose short trainings keep no predictions."""
        goal = self.case.goal
        if not self._is_long(student):
            return None
        earlier = [each for each in self.students if each.figures and goal.is_near(each.figures)]
        own, *others = (Correct(each.right[0]) for each in (student, *filter(self._is_long, earlier)))
        return likeness(Correct(student.right[1]), own, others)

    def _is_long(self, student: Trained) -> bool:
        return student.level == next(arm.top for arm in self.grid.arms if arm.name == student.arm)


def test_error(grid: Grid, seed: int) -> float:
    """Return the standard error of a drop on the test samples over that on the validation samples."""
    some = next(each for each in grid.rows.values() if each.seed == seed and each.figures)
    return sqrt(len(some.right[0]) / len(some.right[2]))


def fit(grid: Grid, seed: int, case: Case) -> Ended:
    """Search as ``edgekd fit`` does, with shares of cuts that the grid has."""
    ledger, candidates = Ledger(), Candidates(grid, seed, case)
    while True:
        action = candidates.study.next()
        if isinstance(action, Finish):
            return Ended(candidates.winner(action), ledger, action.unreachable)
        near = grid.nearest(action.arm, action.share)
        candidates.price(action.arm, action.share, near)
        if isinstance(action, Price):
            continue
        found = grid.find(seed, action.arm, near, action.level)
        candidates.add(found)
        if found.figures:
            ledger.charge(found)


def exhaustive(grid: Grid, seed: int, case: Case) -> Ended:
    """Train every student within the bounds on costs to its end, and choose as ``edgekd fit`` does."""
    ledger, candidates = Ledger(), Candidates(grid, seed, case)
    for student in grid.everything(seed):
        candidates.price(student.arm, student.share)
        if case.keeps_costs(student):
            candidates.add(student)
            ledger.charge(student)
    finish = candidates.study.finish("every student of the grid is trained")
    return Ended(candidates.winner(finish), ledger, finish.unreachable)


def by_hand(grid: Grid, seed: int, case: Case) -> Ended:
    """Train one student, the same for every budget."""
    arm, share = grid.space.by_hand
    student, ledger = grid.top(seed, arm, grid.nearest(arm, share)), Ledger()
    ledger.charge(student)
    return Ended(student, ledger)


def suggested(grid: Grid, seed: int, case: Case, suggest: Suggest, errors: float, epochs: int, most: int) -> Ended:
    """Train what ``suggest`` gives until ``epochs`` are spent, ``most`` students at the most, and choose the cheapest.

    Of those whose drop on the validation samples, and ``errors`` of its standard errors more, are allowed.
    """
    ledger = Ledger()
    for (arm, share), tell in suggest():
        student = grid.top(seed, arm, share)
        if case.keeps_costs(student):
            ledger.charge(student)
        tell(student)
        if ledger.epochs >= epochs or len(ledger.students) >= most:
            break
    return Ended(chosen(ledger.students, case, errors), ledger)


def chosen(students: Sequence[Trained], case: Case, errors: float) -> Trained | None:
    good = [each for each in students if over(each, case, errors) <= 0]
    if good:
        return min(good, key=lambda each: each.cost)
    return min(students, key=lambda each: over(each, case, errors), default=None)


def over(student: Trained, case: Case, errors: float) -> float:
    """Return by how much its drop on the validation samples exceeds what is allowed."""
    assert student.figures
    return student.figures.drop + errors * student.figures.error - case.points / 100


def random_search(grid: Grid, case: Case, seed: int) -> Suggest:
    """Draw an arm, and a share of it with equal factors alike."""

    def suggest() -> Iterator[tuple[tuple[str, float], Callable[[Trained], None]]]:
        draws = np.random.default_rng(seed)
        for _ in range(MOST_DRAWS):
            arm = grid.arms[draws.integers(len(grid.arms))]
            share = float(np.exp(draws.uniform(np.log(arm.low), np.log(arm.high)))) if arm.is_cut else 1.0
            yield (arm.name, grid.nearest(arm.name, share)), lambda student: None

    return suggest


def tpe(grid: Grid, case: Case, seed: int, errors: float) -> Suggest:
    """Ask Optuna's tree-structured Parzen estimator for the least cost, with the budget as its constraints."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def suggest() -> Iterator[tuple[tuple[str, float], Callable[[Trained], None]]]:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        arms = {arm.name: arm for arm in grid.arms}
        for _ in range(MOST_DRAWS):
            trial = study.ask()
            arm = arms[trial.suggest_categorical("arm", list(arms))]
            share = trial.suggest_float(f"share of {arm.name}", arm.low, arm.high, log=True) if arm.is_cut else 1.0

            def tell(student: Trained, trial: optuna.Trial = trial) -> None:
                if student.figures is None:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    return
                trial.set_constraint("costs", case.goal.excess(student.figures) - 1)
                trial.set_constraint("drop", over(student, case, errors) if case.keeps_costs(student) else 0.0)
                study.tell(trial, student.cost)

            yield (arm.name, grid.nearest(arm.name, share)), tell

    return suggest


# Far more than a search trains; most draws exceed a bound on costs where one is tight.
MOST_DRAWS = 200
