"""The space that benchmarks/fit.py compares searches on: a grid's students, and the budgets that they must keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fit_students import Trained

from edgekd.search.goal import LATENCY, Goal

# A quick run has so many shares of each kind at the most, some budgets, and one seed that no record has.
QUICK_STEPS, QUICK_CASES, QUICK_SEED = 3, slice(1, 3), 2


@dataclass(frozen=True)
class Case:
    """A budget: points of accuracy that may go, and bounds on costs by name."""

    name: str
    points: float
    bounds: Mapping[str, float] = field(default_factory=dict)

    @property
    def goal(self) -> Goal:
        return Goal(LATENCY, self.points / 100, self.bounds, 100, "points")

    def keeps_costs(self, student: Trained) -> bool:
        return student.figures is not None and self.goal.excess(student.figures) <= 1

    def is_kept(self, student: Trained) -> bool:
        """Tell whether the student keeps every bound on the test samples."""
        return self.keeps_costs(student) and student.test_drop <= self.points / 100 + 1e-9


@dataclass(frozen=True)
class GridSpace:
    """The students of a grid, and the budgets by which searches among them are compared.

    Attributes:
        name: as ``--space`` has it.
        recipe: in YAML, without student and stages, which are the default space's; its first line is its name. Its
            data source is a function that takes a seed.
        steps: the kinds of students, each with how many shares of its cut the grid has.
        cuts: the smallest and the largest share of its multiply-accumulates that a cut keeps.
        round_to: channel counts are multiples of it.
        cases: the budgets.
        unreachable: budgets that nothing meets.
        by_hand: kind and share of the student that a recipe by hand trains, whatever the budget.
        seeds: how many the record has.
        first_seed: the first of them; those before it are for those who change the search.
    """

    name: str
    recipe: str
    steps: Mapping[str, int]
    cuts: tuple[float, float]
    round_to: int
    cases: Sequence[Case]
    unreachable: Sequence[Case]
    by_hand: tuple[str, float]
    seeds: int
    first_seed: int = 100

    @property
    def quick(self) -> "GridSpace":
        """Return a part of it that shows that everything works."""
        steps = {kind: min(most, QUICK_STEPS) for kind, most in self.steps.items()}
        return replace(self, steps=steps, cases=self.cases[QUICK_CASES], seeds=1, first_seed=QUICK_SEED)

    @property
    def loosest(self) -> float:
        """Return the largest drop that a budget allows, as a share of the samples."""
        return max(case.points for case in self.cases) / 100
