"""Arms whose drop and cost are formulas, in the place of trainings; their best student can be computed."""

from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from scipy.special import ndtr

from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmSpace, ArmState, TrialRecord
from edgekd.search.goal import LATENCY, Goal
from edgekd.search.quality_curve import Noise
from edgekd.search.shared_noise import with_shared_noise
from edgekd.search.study import Finish, Price, Study

ALLOWED = 0.01
LONGER = (0.02, 0.006, 0.0)
EPOCHS = (1, 3, 8)
# Below this no cut reaches.
LEAST = 0.08
WIDTHS = 40


@dataclass
class Simulation:
    """A world of arms, from a seed; ``error`` is the standard error of a drop on the validation samples.

    Attributes:
        noise: of drops, which the search is not told but for the size of the test set.
        true: the drop of each trained network on all samples there are, by the number of its trial.
    """

    seed: int
    error: float
    arms: int = 4
    out_of_reach: bool = False
    goal: Goal = field(default_factory=lambda: Goal(LATENCY, ALLOWED))
    noise: Noise = field(default_factory=Noise)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.common = self.random.normal(0, sqrt(self.noise.common) * self.error)
        self.true: dict[int, float] = {}
        more = 0.05 if self.out_of_reach else 0.0
        self.of = {
            f"arm {number}": (
                self.random.uniform(0.003, 0.012),
                self.random.uniform(1.0, 2.5),
                self.random.uniform(-0.003, 0.006) + more,
                self.random.uniform(0.3, 1.0),
                self.random.uniform(0.6, 1.0),
            )
            for number in range(self.arms)
        }
        self.trials: list[TrialRecord] = []
        self.prices: dict[str, dict[float, Figures | None]] = {name: {} for name in self.of}

    def drop(self, arm: str, share: float, level: int = 2) -> float:
        slope, power, first, _, _ = self.of[arm]
        return first + slope * (share**-power - 1) + LONGER[level] * share**-0.5

    def cost(self, arm: str, share: float) -> float:
        *_, whole, power = self.of[arm]
        return float(whole * (0.1 + 0.9 * share**power))

    def figures(self, arm: str, share: float, drop: float = 0.0) -> Figures:
        cost, macs = self.cost(arm, share), round(share * WIDTHS)
        return Figures(0.9 - drop, drop, self.error, 500, int(1e6 * cost), 1_000_000, macs, WIDTHS, cost, 1.0)

    def study(self) -> Study:
        told = Noise(self.noise.test)
        arms = [
            ArmState(
                ArmSpace(name, 0.05, 0.95, 3),
                self.goal,
                self.prices[name],
                [each for each in self.trials if each.arm == name],
                told,
            )
            for name in self.of
        ]
        return Study(self.goal, with_shared_noise(arms))

    def run(self) -> Finish:
        for _ in range(200):
            action = self.study().next()
            if isinstance(action, Finish):
                return action
            if isinstance(action, Price):
                share = action.share
                self.prices[action.arm][share] = None if share < LEAST else self.figures(action.arm, share)
            else:
                number, own = len(self.trials) + 1, self.random.normal(0, self.error * sqrt(self.noise.own))
                luck = self.random.normal(0, self.error * self.noise.training)
                self.true[number] = self.drop(action.arm, action.share, action.level) + luck
                figures = self.figures(action.arm, action.share, self.true[number] + self.common + own)
                self.trials.append(TrialRecord(number, action.arm, action.share, action.level, figures))
        raise AssertionError("the search does not end")

    @property
    def epochs(self) -> int:
        return sum(EPOCHS[trial.level] for trial in self.trials)

    def kept(self, trial: TrialRecord) -> float:
        """Return how probable it is that a trained network keeps the budget on test samples."""
        return float(ndtr((ALLOWED - self.true[trial.number]) / (self.noise.test * self.error)))

    def best(self) -> float:
        """The cost of the cheapest student of a grid that keeps the budget in truth."""
        shares = np.geomspace(LEAST, 0.95, 60)
        return min(
            self.cost(arm, share) for arm in self.of for share in shares if self.drop(arm, float(share)) <= ALLOWED
        )
