"""A forecast of a search's time, from one measured step of each kind and from what it has recorded so far."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import mean

from edgekd.recipe import Recipe
from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmSpace
from edgekd.search.goal import Goal
from edgekd.search.points import Points
from edgekd.search.quality_curve import Noise, Point, QualityCurve
from edgekd.search.study import ASSURED, FINALISTS, TrainCandidate
from edgekd.search.study_log import StudyLog
from edgekd.strict_json import JsonObject

# Beyond its steps a job loads, exports and scores. Seconds, usual and most, until some are known; then the most of a
# job is so many times the usual. No job is expected to take longer than the one that times steps, which starts the
# process: beside busy processes that says how slow they are.
JOB, MOST_JOB, SLOWER = 4.0, 10.0, 1.5
# Of an arm that is bisected, before its edge is found: usual and most.
TRIALS, MOST_TRIALS = 1.5, 3.0
# Of an arm that is cut: its ends, and one more where no cut reaches the smallest share, or later about its edge.
COSTS_OF_CUT = 3
# Of the arms, where costs are bounded and not yet known.
WITHIN = 1 / 2
# So many times the time that a candidate is said to need is enough for it.
SPARE = 1.2


@dataclass(frozen=True)
class Forecast:
    """The seconds of a search's parts.

    Attributes:
        teacher: of the training of all teachers.
        trainings: of a candidate's, by arm and level.
        test_error: the standard error of a drop on the test samples over that on the validation samples.
        slots: how many candidates are trained at a time.
        arms: the parts of the space.
        bounded: whether arms are left for their costs.
        first_job: of the job that timed steps.
        last_jobs: how many jobs of a candidate the winner's run is worth: one for each of its networks, on the test
            samples where these are more.
        scoring: of the teacher's own predictions for the validation samples.
        outputs: of the teacher's outputs on the training samples that candidates share.
    """

    teacher: float
    trainings: Mapping[str, tuple[float, ...]]
    test_error: float
    slots: int = 1
    arms: Sequence[ArmSpace] = ()
    bounded: bool = False
    first_job: float = 0.0
    last_jobs: float = 6.0
    scoring: float = 0.0
    outputs: float = 0.0

    @classmethod
    def of(
        cls, measured: JsonObject, points: Points, arms: Sequence[ArmSpace], goal: Goal, slots: int = 1
    ) -> "Forecast":
        """Make the forecast from what :func:`edgekd.search.step_times.step_times` gave."""
        steps, own, alike = measured["steps"], points.space.base.teacher, points.alike()
        # Searches that are older than them have the first arm's alone.
        students = measured.get("student_steps", {})
        # Searches that are older than it take the teacher's outputs for a part of each student's step.
        forward = measured.get("teacher_forward", 0.0)
        recipes = {
            arm.name: [points.recipe(arm.name, arm.high, level, {}) for level in range(arm.levels)] for arm in arms
        }
        trainings = {
            name: tuple(
                steps * _seconds(each, students.get(alike[name], measured["student_step"]) - forward, forward)
                for each in levels
            )
            for name, levels in recipes.items()
        }
        views = {stage.kept_views for levels in recipes.values() for each in levels for stage in each.stages}
        # Without augmentations all views are the same.
        kept = sum(views) if measured.get("augmented", True) else min(1, max(views))
        # Searches that are older than them have the first teacher's alone.
        every = [measured["teacher_step"], *measured.get("other_teacher_steps", ())]
        trained = [each.train.epochs if each.train else 0 for each in (own, *own.others)]
        teacher = sum(epochs * steps * step for epochs, step in zip(trained, every, strict=False))
        validation, test = measured["validation"], measured["test"]
        networks = 1 + max(len(points.recipe(arm.name, arm.high, arm.top, {}).stages) for arm in arms)
        # Searches that are older than it have no batch size.
        batches = ceil(validation / measured["batch"]) if "batch" in measured else 0
        return cls(
            teacher,
            trainings,
            sqrt(validation / test),
            slots,
            arms,
            bool(goal.bounds),
            measured.get("seconds", 0.0),
            networks * max(1.0, test / validation),
            batches * forward,
            kept * steps * forward,
        )

    @property
    def seconds(self) -> tuple[float, float]:
        """Return how long the search usually takes, and the most."""
        costs, within = sum(map(_costs, self.arms)), WITHIN if self.bounded else 1.0
        longest = max(MOST_JOB, self.first_job)
        usual, most = (self._candidates(self.arms, *each) for each in self._ends(within, JOB, longest))
        at_once, teacher = self.at_once, self.teacher + self.outputs
        return (
            teacher + (costs * JOB + usual) / at_once + self._last_run(JOB),
            teacher + (costs * longest + most) / at_once + self._last_run(longest),
        )

    def rest(self, log: StudyLog, within: Collection[str]) -> str:
        """Say how long it takes from where all costs are known, with the arms ``within`` the bounds on them."""
        arms = [arm for arm in self.arms if arm.name in within]
        job, once = self.price(log), self.last_run(log) + self._outputs(log)
        found = [self._candidates(arms, *each) / self.at_once + once for each in self._ends(1.0, job, SLOWER * job)]
        kinds = f"{len(arms)} of {len(self.arms)} kind{'s' if len(self.arms) > 1 else ''} of students"
        return f"{kinds} {'is' if len(arms) == 1 else 'are'} within the bounds on costs: {_span(*found)} more"

    @staticmethod
    def _ends(within: float, job: float, most: float) -> tuple[tuple[float, float, float], ...]:
        return (within, TRIALS, job), (1.0, MOST_TRIALS, most)

    def _candidates(self, arms: Sequence[ArmSpace], within: float, trials: float, job: float) -> float:
        """Return the seconds to choose by trainings among the share ``within`` of ``arms``, and to bisect the best."""
        if not arms:
            return job
        left = max(1.0, within * len(arms))
        levels = range(max(arm.levels for arm in arms))
        times = [mean(self.trainings[arm.name][min(level, arm.top)] for arm in arms) + job for level in levels]
        seconds = 0.0
        for each in times[:-1]:
            if left > FINALISTS:
                seconds += left * each
                left = max(FINALISTS, ceil(left / 2))
        values = mean(sum(len(values) - 1 for _, values in arm.open) for arm in arms)
        return seconds + left * (values * times[0] + trials * times[-1])

    @property
    def job(self) -> float:
        """Return how long a job takes beyond its steps, until some are known."""
        return max(JOB, self.first_job)

    @property
    def at_once(self) -> int:
        """Return how many candidates are trained at a time."""
        return min(self.slots, len(self.trainings))

    @property
    def least(self) -> float:
        """Return how long the teacher's training, its outputs and the shortest training of a candidate take."""
        return self.teacher + self.outputs + min(levels[0] for levels in self.trainings.values())

    def first_candidate(self, log: StudyLog) -> float:
        """Return how long it takes from here until a first candidate is trained and measured."""
        priced = len(log.of("price"))
        costs = max(sum(map(_costs, self.arms)) - priced, 0) * (self.price(log) if priced else self.job)
        level = 0 if len(self.trainings) > FINALISTS else -1
        training = min(levels[level] for levels in self.trainings.values()) + self.job
        teacher = self._outputs(log) + (0 if priced else self.teacher)
        return teacher + costs / self.at_once + training + self.last_run(log)

    def nothing_trained(self, limit: float, needed: float) -> str:
        """Say that the time is too short for a candidate, which needs ``needed`` of it, and how much is enough."""
        step = 10 if needed > 360 else 100
        hours = ceil(SPARE * needed / 3600 * step) / step
        # Costs that took longer to find than was forecast are in ``needed`` alone.
        usual, most = (max(needed, seconds) for seconds in self.seconds)
        return (
            f"nothing was trained: the first candidate needs about {_minutes(needed)} min, {_minutes(limit)} were "
            f"given; start again with --hours {hours:g}. The whole search takes {_span(usual, most)}"
        )

    def sentence(self, limit: float | None, spent: float = 0.0) -> str:
        """Say how long it may take, and how much of it there is, of which ``spent`` seconds are those of before."""
        usual, most = self.seconds
        arms = len(self.trainings)
        words = f"forecast: {_span(usual, most)}, for {arms} kind{'s' if arms > 1 else ''} of students"
        if spent:
            words += f", {_minutes(spent)} min of which are spent"
        if limit is None:
            return words
        short = "" if limit >= usual else "; it ends with the best by then, and more hours go on from there"
        return f"{words}; {limit / 60:.0f} min are given{short}"

    def noise_warning(self, figures: Figures, goal: Goal) -> str | None:
        """Say how much better than the bound a student must be to keep it by more than luck, or None if that is little.

        Args:
            figures: of a student on the validation samples.
        """
        if goal.allowed is None:
            return None
        near = Point(1.0, goal.allowed, goal.drop(figures)[1])
        room = QualityCurve((near,), 1.0, 1.0, goal.allowed, Noise(self.test_error)).room(ASSURED)
        if room <= abs(goal.allowed) / 2:
            return None
        tested = round(figures.n / self.test_error**2)
        return (
            f"{figures.n} validation and {tested} test samples cannot tell the bound from {goal.shown(room)} less: a "
            "student that is no better than that misses it by chance more often than once in ten times. More samples "
            "help; data.validation is the share of samples that is held out to choose by"
        )

    def training(self, action: TrainCandidate, log: StudyLog) -> float:
        """Return how long a candidate's training will take, from those of its length that are done if there are any."""
        forecast = self.trainings[action.arm][action.level] + self.job
        trained = [entry for entry in log.of("trial") if "error" not in entry]
        seconds = [entry["seconds"] for entry in trained]
        if seconds:
            # The first one found the teacher's outputs for all.
            seconds[0] = max(seconds[0] - self.outputs, min(seconds[0], forecast))
        done = [
            (entry["arm"], each) for entry, each in zip(trained, seconds, strict=True) if entry["level"] == action.level
        ]
        same = [each for arm, each in done if arm == action.arm]
        found = same or [each for _, each in done]
        return mean(found) if found else forecast + self._outputs(log)

    def price(self, log: StudyLog) -> float:
        """Return how long it takes to find a candidate's cost."""
        done = [entry["seconds"] for entry in log.of("price")[1:] if "error" not in entry]
        return mean(done) if done else self.job + (0 if log.of("price") else self.teacher)

    def last_run(self, log: StudyLog) -> float:
        """Return how long the winner's run will take, which scores and measures each network that was made before.

        That is as long as an earlier winner's took, where there was one.
        """
        done = [entry["seconds"] for entry in log.of("end") if "seconds" in entry]
        return max(done) if done else self._last_run(self.price(log) if log.of("price") else self.job)

    def _outputs(self, log: StudyLog) -> float:
        """Return how long the teacher's outputs that candidates share will take, which a first candidate finds."""
        return 0.0 if any("error" not in entry for entry in log.of("trial")) else self.outputs

    def _last_run(self, job: float) -> float:
        """Return the seconds of the last run, which exports and scores each network as a ``job`` and in PyTorch."""
        return self.last_jobs * (job + self.scoring)


def _costs(arm: ArmSpace) -> int:
    """Return the number of networks that are priced for it."""
    return COSTS_OF_CUT if arm.is_cut else 1


def _span(usual: float, most: float) -> str:
    about = f"about {_minutes(usual)} min" if usual >= 90 else "about a minute"
    return f"{about}, up to about {_minutes(most)} min"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}" if seconds >= 600 else f"{seconds / 60:.2g}"


def _seconds(recipe: Recipe, student: float, teacher: float) -> float:
    """Return the seconds of its trainings over an epoch, if a step of the student and the teacher takes so long."""
    return sum(stage.passes * student + stage.teacher_passes * teacher for stage in recipe.stages)
