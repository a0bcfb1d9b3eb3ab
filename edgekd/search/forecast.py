"""A forecast of a search's time, from one measured step of each kind and from what it has recorded so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import mean

from edgekd.recipe import Recipe
from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmSpace
from edgekd.search.goal import Goal
from edgekd.search.points import Points
from edgekd.search.quality_curve import Point, QualityCurve
from edgekd.search.study import FINALISTS, TrainCandidate
from edgekd.search.study_log import StudyLog
from edgekd.strict_json import JsonObject

# Beyond its steps a job starts, loads, exports and scores; the last run measures too. Seconds, until some are known.
JOB, LAST_RUN = 15.0, 90.0
# Of an arm that is bisected, before its edge is found, and of an arm's costs.
USUAL_TRIALS, USUAL_COSTS = 3, 3 / 2
# So many times the time that a candidate is said to need is enough for it.
SPARE = 1.2


@dataclass(frozen=True)
class Forecast:
    """The seconds of a search's parts.

    Attributes:
        teacher: of the teacher's training.
        trainings: of a candidate's, by arm and level.
        test_error: the standard error of a drop on the test samples over that on the validation samples.
        slots: how many candidates are trained at a time.
    """

    teacher: float
    trainings: dict[str, tuple[float, ...]]
    test_error: float
    slots: int = 1

    @classmethod
    def of(
        cls, measured: JsonObject, base: Recipe, points: Points, arms: Sequence[ArmSpace], slots: int = 1
    ) -> "Forecast":
        """Make the forecast from what :func:`edgekd.search.step_times.step_times` gave."""
        steps, own = measured["steps"], base.teacher.train
        trainings = {
            arm.name: tuple(
                _epochs(points.recipe(arm.name, arm.high, level, {})) * steps * measured["student_step"]
                for level in range(arm.levels)
            )
            for arm in arms
        }
        teacher = own.epochs * steps * measured["teacher_step"] if own else 0.0
        return cls(teacher, trainings, sqrt(measured["validation"] / measured["test"]), slots)

    @property
    def seconds(self) -> float:
        """Return about how long the search takes."""
        costs = USUAL_COSTS * JOB * len(self.trainings)
        shorts = sum(levels[0] + JOB for levels in self.trainings.values()) if len(self.trainings) > FINALISTS else 0
        longest = sorted((levels[-1] + JOB for levels in self.trainings.values()), reverse=True)[:FINALISTS]
        return self.teacher + (costs + shorts + USUAL_TRIALS * sum(longest)) / self.at_once + LAST_RUN

    @property
    def at_once(self) -> int:
        """Return how many candidates are trained at a time."""
        return min(self.slots, len(self.trainings))

    @property
    def least(self) -> float:
        """Return how long the teacher's training and the shortest one of a candidate take, and nothing else."""
        return self.teacher + min(levels[0] for levels in self.trainings.values())

    def first_candidate(self, log: StudyLog) -> float:
        """Return how long it takes from here until a first candidate is trained and measured."""
        priced = len(log.of("price"))
        costs = max(USUAL_COSTS * len(self.trainings) - priced, 0) * (self.price(log) if priced else JOB)
        level = 0 if len(self.trainings) > FINALISTS else -1
        training = min(levels[level] for levels in self.trainings.values()) + JOB
        return (0 if priced else self.teacher) + costs / self.at_once + training + self.last_run(log)

    def nothing_trained(self, limit: float, needed: float) -> str:
        """Say that the time is too short for a candidate, which needs ``needed`` of it, and how much is enough."""
        step = 10 if needed > 360 else 100
        hours = ceil(SPARE * needed / 3600 * step) / step
        return (
            f"nothing was trained: the first candidate needs about {_minutes(needed)} min, {_minutes(limit)} were "
            f"given; start again with --hours {hours:g}. The whole search takes about {_minutes(self.seconds)} min"
        )

    def sentence(self, limit: float | None) -> str:
        """Say how long it may take, and how much of it there is."""
        minutes = self.seconds / 60
        about = f"forecast: about {minutes:.0f} min" if minutes >= 1 else "forecast: about a minute"
        arms = len(self.trainings)
        words = f"{about} for {arms} kind{'s' if arms > 1 else ''} of students"
        if limit is None:
            return words
        short = "" if limit >= self.seconds else "; it ends with the best by then, and more hours go on from there"
        return f"{words}, of {limit / 60:.0f} min given{short}"

    def noise_warning(self, figures: Figures, goal: Goal) -> str | None:
        """Say how much better than the bound a student must be to keep it by more than luck, or None if that is little.

        Args:
            figures: of a student on the validation samples.
        """
        if goal.allowed is None:
            return None
        near = Point(1.0, goal.allowed, figures.error)
        room = QualityCurve((near,), 1.0, 1.0, goal.allowed, self.test_error).room
        if room <= abs(goal.allowed) / 2:
            return None
        tested = round(figures.n / self.test_error**2)
        return (
            f"{figures.n} validation and {tested} test samples cannot tell the bound from {goal.shown(room)} less: a "
            "student that is no better than that misses it by chance more often than once in ten times. More samples "
            "help; data.validation is the share of the training samples that is held out"
        )

    def training(self, action: TrainCandidate, log: StudyLog) -> float:
        """Return how long a candidate's training will take, from those of its length that are done if there are any."""
        done = [entry for entry in log.of("trial") if entry["level"] == action.level and "error" not in entry]
        same = [entry["seconds"] for entry in done if entry["arm"] == action.arm]
        if same or done:
            return mean(same or [entry["seconds"] for entry in done])
        return self.trainings[action.arm][action.level] + JOB

    def price(self, log: StudyLog) -> float:
        """Return how long it takes to find a candidate's cost."""
        done = [entry["seconds"] for entry in log.of("price")[1:] if "error" not in entry]
        return mean(done) if done else JOB + (0 if log.of("price") else self.teacher)

    def last_run(self, log: StudyLog) -> float:
        """Return how long the winner's run will take: it measures what was made before."""
        return LAST_RUN if not log.of("price") else min(LAST_RUN, 6 * self.price(log))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}" if seconds >= 600 else f"{seconds / 60:.2g}"


def _epochs(recipe: Recipe) -> int:
    return sum(getattr(stage, "epochs", 0) for stage in recipe.stages)
