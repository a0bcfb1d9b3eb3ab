"""A search from its recipe to the winner's bundle, in one folder that it can go on from."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

from edgekd.errors import EdgekdError, StorageError
from edgekd.files import make_folder, storage, write_json, write_text
from edgekd.log import get_logger
from edgekd.recipe import Recipe, Target
from edgekd.records.candidate_figures import MACHINE, Figures
from edgekd.records.rows import place_of
from edgekd.report.fit_record import CANDIDATES, MADE_NOTHING
from edgekd.report.load import load_report
from edgekd.report.schema import Report
from edgekd.search.arm_state import ArmSpace, ArmState, TrialRecord
from edgekd.search.candidates import DEPLOYED, CandidateJob, Candidates, at_share, figures_of, trial_of
from edgekd.search.fit_result import FitResult, keeps_budget
from edgekd.search.folder import (
    CACHE,
    JOURNAL,
    SCHEMA_VERSION,
    SUMMARY,
    WINNER,
    WINNER_RECIPE,
    WORKER_LOG,
    fit_folder,
)
from edgekd.search.forecast import Forecast
from edgekd.search.goal import ENERGY, LATENCY, goal_of
from edgekd.search.jobs import JobRunner, Jobs, run_needed, run_timed
from edgekd.search.launch import Worker
from edgekd.search.measured_times import ENERGIES, RATIOS, MeasuredTimes, judged_in, machine_of
from edgekd.search.points import Points, arm_space, is_placed_by_measurement
from edgekd.search.quality_curve import Noise
from edgekd.search.ray_cluster import RayCluster
from edgekd.search.shared_noise import with_shared_noise, without_luck
from edgekd.search.space import ARM, Space
from edgekd.search.study import Action, Finish, Study, TrainCandidate
from edgekd.search.study_log import StudyLog, must_be_as_before, search_keys
from edgekd.search.time_spent import TimeSpent
from edgekd.strict_json import JsonObject

logger = get_logger(__name__)

# By so much of the time it is said that nothing can meet the budget.
HALF = 0.45
DONE, OUT_OF_TIME = "done", "out of time"


def fit(
    space: Space, folder: Path, *, hours: float | None = None, command: str = "", runner: JobRunner | None = None
) -> FitResult:
    """Search ``space`` for the best student within its budget; started again after any end, it goes on.

    Args:
        folder: of the search: its record, a run folder for each trial, the cache that they share, and the winner's.
        hours: the time that may be spent on it, all starts together; without limit if left out.
        command: what repeats this search, for the winner's report.
        runner: does the trainings and measurements; a process of this machine where it is left out.

    Raises:
        EdgekdError: bad input, another search's folder, a disk that refuses, a teacher that cannot be trained, or time
            in which by the forecast no candidate can be.
    """
    with fit_folder(folder), runner or Worker(folder / WORKER_LOG) as runner:
        log = StudyLog(folder / JOURNAL)
        search = _Search(space, folder, log, runner, hours, command)
        with search.clock.recorded_in(log):
            search.begin()
            return search.run()


class _Search:
    def __init__(self, space: Space, folder: Path, log: StudyLog, runner: JobRunner, hours: float | None, command: str):
        self.space, self.log, self.runner, self.command = space, log, runner, command
        self.folder, self.points = folder.absolute(), Points(space)
        self.limit = hours * 3600 if hours is not None else None
        self.clock = TimeSpent(log.seconds, self.limit)
        self.base: Recipe = space.base
        self.goal = goal_of(space)
        self.judged = judged_in(self.base)
        # Of a cluster, another machine may time.
        self.machine = None if isinstance(runner, RayCluster) else machine_of(self.judged)
        self.times = MeasuredTimes(self.folder, log, runner, self.clock, self.machine)
        self.arms: list[ArmSpace] = [arm_space(arm) for arm in space.arms]
        self._said = ""
        self.placed = {arm.name for arm in space.arms if is_placed_by_measurement(space.recipe({ARM: arm.name}))}

    def begin(self) -> None:
        key, *older = _keys(self.space)
        known = self.log.last("begin")
        if known is None:
            arms = [vars(arm) for arm in self.arms]
            self.log.append("begin", schema_version=SCHEMA_VERSION, key=key, objective=self.goal.objective, arms=arms)
        elif known.get("key") not in (key, *older):
            raise StorageError(
                f"{self.folder} holds a search of another recipe: choose another folder with --out, or remove it"
            )
        if self.goal.is_cost and self.goal.allowed is None:
            metric = self.base.kind.metrics[0]
            logger.warning(
                "the budget bounds no metric, so the cheapest student wins, whatever it predicts: give budget "
                f"{{drop: {{{metric.name}: 1.0}}}}, by how much worse than the teacher's its {metric.title} may be"
            )
        if self.judging:
            where, elsewhere = self.judging["judged"], self.judging["unjudged"]
            logger.warning(f"the budget is judged on {where} alone; no bound is checked on {elsewhere}")
        recipes = self._first_recipes()
        contents = run_needed(self.runner, self.log, "contents", **recipes)
        steps = must_be_as_before(self.log, contents["result"], self.folder)
        self.space = replace(self.space, steps=steps)
        self.points = Points(self.space)
        if len(self.log.of_machine("price", self.machine)) < len(self.log.of("price")):
            logger.warning(f"times in {self.folder} are of another machine: they are measured again, on {self.machine}")
        known = next(iter(self.log.of_machine("forecast", self.machine)), None)
        measured = known or self._measured_steps(recipes)
        self.forecast = Forecast.of(measured, self.points, self.arms, self.goal, self.runner.slots)
        if known is None:
            # Where this refuses, the next start measures anew: the machine may have been busy.
            if self.limit is not None and self.forecast.least >= self.limit and not self.log.of("trial"):
                needed = self.forecast.first_candidate(self.log)
                raise EdgekdError(self.forecast.nothing_trained(self.limit, needed))
            self.log.append("forecast", **measured, **{MACHINE: self.machine}, spent=round(self.clock.spent, 2))
        logger.info(self.forecast.sentence(self.limit, self.clock.before))

    @cached_property
    def judging(self) -> Mapping[str, str]:
        """Return which of several targets the budget is judged on, as in a run, and the others; nothing of one."""
        first, *others = dict.fromkeys(map(_place, [self.judged, *self.base.targets]))
        return {"judged": first, "unjudged": "; ".join(others)} if others else {}

    def _first_recipes(self) -> JsonObject:
        """Write a recipe of each network that students start from."""
        recipe = self._write_recipe("forecast", self.base)
        _, *others = dict.fromkeys(self.points.alike().values())
        recipes = {name: self.space.recipe({ARM: name}) for name in others}
        paths = {
            name: str(self._write_recipe(f"forecast-{number}", other))
            for number, (name, other) in enumerate(recipes.items(), start=2)
        }
        return {"recipe": str(recipe), "others": paths}

    def _measured_steps(self, recipes: JsonObject) -> JsonObject:
        found = run_needed(self.runner, self.log, "step", **recipes)
        return {**found["result"], "seconds": found["seconds"]}

    def run(self) -> FitResult:
        finish, ended, winner = self._search()
        self._say_out_of_reach(finish.unreachable)
        if winner is None:
            summary = self._summary(finish, None, None)
            write_json(self.folder / SUMMARY, summary)
            self.log.append("end", how=ended, met=False)
            return FitResult(None, finish, summary)
        report, seconds = self._run_winner(winner)
        result = FitResult(report, finish, self._summary(finish, winner, report))
        write_json(self.folder / SUMMARY, result.summary)
        last = self.log.last("end") or {}
        if (last.get("trial"), last.get("how")) != (winner.number, ended):
            spent = round(self.clock.spent, 2)
            self.log.append("end", how=ended, met=result.met, trial=winner.number, seconds=seconds, spent=spent)
        self.times.take_missed(winner, report, self._prices)
        return result

    def _search(self) -> tuple[Finish, str, TrialRecord | None]:
        with Jobs[CandidateJob](self.runner) as jobs:
            candidates = Candidates(self.folder, self.log, self.points, self.goal, jobs, self.clock, self.machine)
            while True:
                study = self.study()
                steps = study.steps()
                self._say_left(study.left)
                self._say_out_of_reach(study.too_much)
                busy = candidates.arms
                steps = [step for step in steps if isinstance(step, Finish) or step.arm not in busy]
                end = self._end(study, steps[0]) if steps else None
                if end and not busy:
                    known, winner = self.times.count, self._fastest(end[0]) if end[0].best else None
                    if self.times.count == known:
                        return *end, winner
                    # A time that was measured may change which one is the best.
                    continue
                begins = bool(steps) and isinstance(steps[0], TrainCandidate) and not busy and not self.log.of("trial")
                if begins and self.forecast.bounded:
                    logger.info(self.forecast.rest(self.log, [arm.name for arm in study.arms if arm.reach]))
                # The first one trains the teacher, or shows that nothing works.
                free = jobs.free if self.log.of("price") else 1 - len(busy)
                for step in steps[:free] if end is None else ():
                    if self._end(study, step) is None:
                        candidates.start(step)
                tried = len(self.log.of("trial"))
                candidates.wait()
                if not tried:
                    self._warn_of_noise()

    def _warn_of_noise(self) -> None:
        figures = next((found for entry in self.log.of("trial") if (found := figures_of(entry))), None)
        warning = self.forecast.noise_warning(figures, self.goal) if figures else None
        if warning:
            logger.warning(warning)

    def _end(self, study: Study, step: Action) -> tuple[Finish, str] | None:
        if isinstance(step, Finish):
            return step, DONE
        if study.too_much and self._is_half_over(self._with_last_run(step)):
            return study.finish_out_of_reach(), DONE
        if self._hopeless_by_half(step):
            reason = "no candidate comes near the budget, and half of the time would be over after the next one"
            return study.finish(reason), DONE
        if self.limit is not None and not self._has_time_for(step):
            if not self.log.of("trial"):
                rest = max(self.forecast.first_candidate(self.log), self._with_last_run(step))
                reason = self.forecast.nothing_trained(self.limit, self.clock.spent + rest)
                return Finish((), None, reason), OUT_OF_TIME
            finish = study.finish("the time is over; more of it (--hours) goes on from here")
            # What was not tried yet may come nearer than the best so far.
            return (replace(finish, unreachable=None) if finish.best else finish), OUT_OF_TIME
        return None

    def study(self) -> Study:
        trials, prices = list(map(trial_of, self.log.of("trial"))), self._prices
        factors, noise = self.times.factors, Noise(self.forecast.test_error)
        refused = {entry["arm"]: entry["error"] for entry in self.log.of("price") if "error" in entry}
        arms = []
        for arm in self.arms:
            own = [trial for trial in trials if trial.arm == arm.name]
            timed = {trial.share: factors[trial.number] for trial in own if trial.number in factors}
            arms.append(ArmState(arm, self.goal, prices[arm.name], own, noise, timed, refused.get(arm.name)))
        return Study(self.goal, with_shared_noise(arms))

    @property
    def _prices(self) -> dict[str, dict[float, Figures | None]]:
        prices: dict[str, dict[float, Figures | None]] = {arm.name: {} for arm in self.arms}
        for entry in self.log.of_machine("price", self.machine):
            if entry["arm"] in self.placed and DEPLOYED not in entry:
                continue
            prices[entry["arm"]][entry["share"]] = figures_of(entry)
        return prices

    def _write_recipe(self, name: str, recipe: Recipe) -> Path:
        path = self.folder / f"{name}.yaml"
        make_folder(path.parent)
        write_text(path, recipe.to_yaml())
        return path

    def _fastest(self, finish: Finish) -> TrialRecord:
        """Return the fastest of those that could win, or that with the least energy; the first where neither decides.

        They are measured in turns.
        """
        filed = [each for each in finish.best if self.points.is_filed(each.arm, each.share, each.level, each.choices)]
        if not (filed and self.goal.is_timed):
            return finish.best[0]
        what = ENERGIES if self.goal.objective == ENERGY else RATIOS
        known = self.times.known(what)
        if any(trial.number not in known for trial in filed):
            known |= self.times.measure(filed, self._prices, what)
        measured = [(value, each.number, each) for each in filed if (value := known.get(each.number)) is not None]
        return min(measured)[2] if measured and self.goal.objective in (LATENCY, ENERGY) else finish.best[0]

    def _run_winner(self, winner: TrialRecord) -> tuple[Report, float]:
        recipe = self.points.recipe(winner.arm, winner.share, winner.level, winner.choices)
        path = self.folder / WINNER_RECIPE
        with storage(self.folder):
            # Of an earlier winner, whose run folder this one takes.
            (self.folder / SUMMARY).unlink(missing_ok=True)
        write_text(path, recipe.to_yaml())
        logger.info(f"the winner, trial {winner.number} ({winner.arm}{at_share(winner.share)}), on the test samples")
        place, cache = self.folder / WINNER, self.folder / CACHE
        fields: JsonObject = {"recipe": str(path), "folder": str(place), "cache": str(cache), "command": self.command}
        found = run_timed(self.runner, "run", **fields)
        if "error" in found:
            raise EdgekdError(f"the winner's run failed: {found['error']}; the same command tries it again")
        return load_report(place), found["seconds"]

    def _has_time_for(self, action: Action) -> bool:
        if self.limit is None:
            return True
        return self.clock.spent + self._with_last_run(action) < self.limit

    def _with_last_run(self, action: Action) -> float:
        return self._expected(action) + self.forecast.last_run(self.log)

    def _expected(self, action: Action) -> float:
        if isinstance(action, TrainCandidate):
            return self.forecast.training(action, self.log)
        return self.forecast.price(self.log)

    def _hopeless_by_half(self, step: Action) -> bool:
        if not self._is_half_over(self._expected(step)):
            return False
        study = self.study()
        study.next()
        return study.is_hopeless

    def _is_half_over(self, more: float) -> bool:
        """Tell whether half of the time would be over after ``more`` seconds."""
        return self.limit is not None and self.clock.spent + more >= HALF * self.limit

    def _say_left(self, left: Mapping[str, str]) -> None:
        said = {entry["arm"] for entry in self.log.of("left")}
        for name, reason in left.items():
            if name not in said:
                logger.info(f"{name} is left out: {reason}")
                self.log.append("left", arm=name, reason=reason)

    def _say_out_of_reach(self, why: str | None) -> None:
        """Say it once, and at once: training or measuring what comes nearest takes a while."""
        if why and why != self._said:
            logger.warning(f"the budget is out of reach: {why}")
            self._said = why

    def _summary(self, finish: Finish, winner: TrialRecord | None, report: Report | None) -> JsonObject:
        trials = self.log.of("trial")
        met = keeps_budget(report)
        document: JsonObject = {
            "schema_version": SCHEMA_VERSION,
            "objective": self.goal.objective,
            "met": met,
            "reason": finish.reason,
            "unreachable": None if met else finish.unreachable,
            "candidates": len(trials),
            "trained": sum("figures" in entry for entry in trials),
            "failed": sum("error" in entry for entry in trials),
            "seconds": round(self.clock.spent, 1),
            "forecast": [round(each, 1) for each in self.forecast.seconds],
            "left": {entry["arm"]: entry["reason"] for entry in self.log.of("left")},
            **self.judging,
        }
        priced = any("figures" in entry for entry in self.log.of_machine("price", self.machine))
        if not document["trained"] and (trials or not priced) and finish.unreachable:
            document[MADE_NOTHING] = True
        if winner is not None and winner.figures is not None:
            document["winner"] = {
                "trial": winner.number,
                "arm": winner.arm,
                "share": winner.share,
                "level": winner.level,
            }
            document["validation"] = self._validation(winner, winner.figures)
            earlier = {entry["trial"] for entry in self.log.of("end") if "trial" in entry}
            document["tested"] = len(earlier | {winner.number})
        return document

    def _validation(self, winner: TrialRecord, figures: Figures) -> JsonObject:
        """Return the winner's figures on the validation samples.

        It was chosen by its score, which flatters it; the truth is between that and the curve of its arm, or where its
        quality was made best, the scores of all that it was chosen from.
        """
        metric = self.base.kind.metrics[0].name
        known: JsonObject = {"metric": metric, "drop": figures.drop, "error": figures.error, "n": figures.n}
        if figures.others:
            known["others"] = {name: {"drop": drop, "error": error} for name, (drop, error) in figures.others.items()}
        study = self.study()
        arm = next(arm for arm in study.arms if arm.name == winner.arm)
        if arm.has_curve:
            known["assurance"] = arm.assurance(winner)
        if not self.goal.is_cost:
            found = [each.figures for each in study.compared_with(winner) if each.figures]
            if len(found) == 1:
                return known
            drops, errors = [each.drop for each in found], [each.error for each in found]
            mean, error = without_luck(drops, errors, arm.noise.common)
            return {**known, "corrected_drop": mean, "corrected_error": error, "corrected_by": CANDIDATES}
        # Of several bounded metrics, the curve is of whichever is the nearest to its bound.
        if not arm.has_curve or self.goal.metric or self.goal.others:
            return known
        mean, error = arm.drop(winner)
        return {**known, "corrected_drop": mean, "corrected_error": error}


def _keys(space: Space) -> tuple[str, ...]:
    """Return the hashes of all that decisions follow from: two of another objective or range are two searches."""
    ranges = [[[each.name, asdict(each.values)] for each in arm.dimensions] for arm in space.arms]
    arms = [[arm.name, dict(arm.document), own] for arm, own in zip(space.arms, ranges, strict=True)]
    kinds = [[arm.name, own] for arm, own in zip(space.arms, ranges, strict=True)]
    return search_keys(space, [space.objective, kinds], [space.objective, arms])


def _place(target: Target) -> str:
    return place_of({"device": target.device, "runtime": target.runtime, "threads": target.threads_there})
