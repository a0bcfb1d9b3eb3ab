"""A search from its recipe to the winner's bundle, in one folder that it can go on from."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekd.errors import EdgekdError, StorageError
from edgekd.files import canonical_json, make_folder, sha256, storage, write_json, write_text
from edgekd.log import get_logger
from edgekd.recipe import Recipe
from edgekd.records.candidate_figures import Figures
from edgekd.report.load import load_report
from edgekd.report.schema import Report
from edgekd.scratch import hold
from edgekd.search.arm_state import ArmSpace, ArmState, TrialRecord
from edgekd.search.forecast import Forecast
from edgekd.search.goal import LATENCY, Goal
from edgekd.search.launch import Worker
from edgekd.search.points import Points, arm_space
from edgekd.search.space import Space
from edgekd.search.study import Action, Finish, Price, Study, TrainCandidate
from edgekd.search.study_log import StudyLog
from edgekd.strict_json import JsonObject

logger = get_logger(__name__)

JOURNAL, SUMMARY, WINNER_RECIPE = "journal.jsonl", "fit.json", "winner.yaml"
TRIALS, PRICES, CACHE, WINNER, WORKER_LOG = "trials", "prices", "cache", "winner", "worker.log"
LOCK = ".lock"
SCHEMA_VERSION = 1
# By so much of the time it is said that nothing can meet the budget.
HALF = 0.45
DONE, OUT_OF_TIME = "done", "out of time"


@dataclass(frozen=True)
class FitResult:
    """The end of a search.

    Attributes:
        report: of the winner's run; None where no student could be made.
        finish: why the search ended, and with what.
        summary: what ``fit.json`` holds.
    """

    report: Report | None
    finish: Finish
    summary: JsonObject

    @property
    def met(self) -> bool:
        """Tell whether the deployed file keeps every bound on the test samples and on its target."""
        return self.report is not None and (self.report.budget is None or self.report.budget.met)


def fit(space: Space, folder: Path, *, hours: float | None = None, command: str = "") -> FitResult:
    """Search ``space`` for the best student within its budget; started again after any end, it goes on.

    Args:
        folder: of the search: its record, a run folder for each trial, the cache that they share, and the winner's.
        hours: the time that may be spent on it, all starts together; without limit if left out.
        command: what repeats this search, for the winner's report.

    Raises:
        EdgekdError: bad input, another search's folder, a disk that refuses, a teacher that cannot be trained.
    """
    with fit_folder(folder), Worker(folder / WORKER_LOG) as worker:
        log = StudyLog(folder / JOURNAL)
        search = _Search(space, folder, log, worker, hours, command)
        search.begin()
        return search.run()


@contextmanager
def fit_folder(folder: Path) -> Iterator[None]:
    """Keep other searches out of ``folder`` in the block.

    Raises:
        StorageError: another one is at work there, or the folder holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / JOURNAL).is_file() and not (folder / LOCK).is_file():
        raise StorageError(f"{folder} is not empty and holds no search: choose another folder with --out")
    make_folder(folder)
    try:
        with storage(folder), hold(folder / LOCK):
            yield
    except StorageError as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise
        raise StorageError(
            f"another search is at work in {folder}: wait for it, or choose another folder with --out"
        ) from error


class _Search:
    def __init__(self, space: Space, folder: Path, log: StudyLog, worker: Worker, hours: float | None, command: str):
        self.space, self.log, self.worker, self.command = space, log, worker, command
        self.folder, self.points = folder.absolute(), Points(space)
        self.limit = hours * 3600 if hours is not None else None
        self.spent, self.started = log.seconds, time.monotonic()
        self.base: Recipe = space.base
        self.goal = goal_of(space)
        self.arms: list[ArmSpace] = [arm_space(arm) for arm in space.arms]

    @property
    def seconds(self) -> float:
        """Return the seconds of all starts together."""
        return self.spent + time.monotonic() - self.started

    def begin(self) -> None:
        key = _key(self.space)
        known = self.log.last("begin")
        if known is None:
            arms = [vars(arm) for arm in self.arms]
            self.log.append("begin", schema_version=SCHEMA_VERSION, key=key, objective=self.goal.objective, arms=arms)
        elif known.get("key") != key:
            raise StorageError(
                f"{self.folder} holds a search of another recipe: choose another folder with --out, or remove it"
            )
        if self.log.last("forecast") is None:
            recipe = self._write_recipe("forecast", self.base)
            found = self._job("step", recipe=str(recipe))
            if "error" in found:
                raise EdgekdError(f"nothing was trained: {found['error']}")
            self.log.append("forecast", **found["result"], seconds=found["seconds"])
        self.forecast = Forecast.of(self.log.last("forecast") or {}, self.base, self.points, self.arms)
        logger.info(self.forecast.sentence(self.limit))

    def run(self) -> FitResult:
        finish, ended = self._search()
        if not finish.best:
            summary = self._summary(finish, None, None)
            write_json(self.folder / SUMMARY, summary)
            self.log.append("end", how=ended, met=False)
            return FitResult(None, finish, summary)
        winner = self._fastest(finish)
        report, seconds = self._run_winner(winner)
        result = FitResult(report, finish, self._summary(finish, winner, report))
        write_json(self.folder / SUMMARY, result.summary)
        last = self.log.last("end") or {}
        if (last.get("trial"), last.get("how")) != (winner.number, ended):
            self.log.append("end", how=ended, met=result.met, trial=winner.number, seconds=seconds)
        return result

    def _search(self) -> tuple[Finish, str]:
        while True:
            study = self.study()
            action = study.next()
            self._say_left(study.left)
            if isinstance(action, Finish):
                return action, DONE
            if self._hopeless_at_half():
                return study.finish("half of the time is over, and no candidate comes near the budget"), DONE
            if not self._has_time_for(action):
                return study.finish("the time is over; more of it (--hours) goes on from here"), OUT_OF_TIME
            self._do(action)

    def study(self) -> Study:
        prices: dict[str, dict[float, Figures | None]] = {arm.name: {} for arm in self.arms}
        for entry in self.log.of("price"):
            prices[entry["arm"]][entry["share"]] = _figures(entry)
        trials = list(map(_trial, self.log.of("trial")))
        return Study(
            self.goal,
            [
                ArmState(
                    arm,
                    self.goal,
                    prices[arm.name],
                    [trial for trial in trials if trial.arm == arm.name],
                    self.forecast.test_error,
                )
                for arm in self.arms
            ],
        )

    def _do(self, action: Action) -> None:
        if isinstance(action, Price):
            for share in action.shares:
                self._price(action.arm, share)
        elif isinstance(action, TrainCandidate):
            self._train(action)

    def _price(self, arm: str, share: float) -> None:
        name = f"{len(self.log.of('price')) + 1:03d}"
        recipe = self._write_recipe(f"{PRICES}/{name}", self.points.untrained(arm, share))
        found = self._try(recipe, timed=self.goal.is_timed)
        if "error" in found and not self.log.of("price") and found.get("kind") not in ("ModelError", "RecipeError"):
            raise EdgekdError(f"{found['error']}; {self.folder / WORKER_LOG} has more")
        self._record("price", found, arm=arm, share=share)
        figures = _figures(self.log.events[-1])
        why = str(found.get("error")).partition(": ")[0]
        words = f"{self.goal.cost(figures):.3f} of the teacher's {self._of}" if figures else why
        logger.info(f"  cost of {arm}{_at(share)}: {words}")

    def _train(self, action: TrainCandidate) -> None:
        number = len(self.log.of("trial")) + 1
        at = (action.arm, action.share, action.level, action.choices)
        recipe, whole = self.points.trial(*at), self.points.recipe(*at)
        path = self._write_recipe(f"{TRIALS}/{number:03d}", recipe)
        values = "".join(f", {name} {value}" for name, value in action.choices.items())
        place = f"{action.arm}{_at(action.share)}{values}"
        logger.info(f"trial {number}: {place}, training {action.level + 1}; {self._progress()}")
        # A short training is compared with others of its kind alone, which its file would take longer than it.
        found = self._try(path, filed=recipe == whole)
        about = {"arm": action.arm, "share": action.share, "level": action.level, "choices": dict(action.choices)}
        self._record("trial", found, number=number, **about)
        figures = _figures(self.log.events[-1])
        metric = self.base.kind.metrics[0]
        if figures is None:
            logger.warning(f"trial {number} gave no network: {found.get('error')}")
        else:
            words = metric.shown_change(-figures.drop if metric.better == "higher" else figures.drop)
            logger.info(
                f"  {metric.precisely(figures.value)} on {figures.n} validation samples, {words} to the teacher"
            )

    def _try(self, recipe: Path, timed: bool = False, filed: bool = True) -> JsonObject:
        known = (figures.teacher_ms for entry in self.log.of("price") if (figures := _figures(entry)))
        return self._job(
            "try",
            recipe=str(recipe),
            folder=str(recipe.with_suffix("")),
            cache=str(self.folder / CACHE),
            timed=timed,
            filed=filed,
            teacher_ms=next(known, None),
        )

    def _job(self, job: str, **fields: object) -> JsonObject:
        started = time.monotonic()
        found = self.worker.run(job, **fields)
        return {**found, "seconds": round(time.monotonic() - started, 2)}

    def _record(self, event: str, found: JsonObject, **about: object) -> None:
        outcome = {"figures": found["result"]} if "result" in found else {"error": str(found["error"])}
        self.log.append(event, **about, **outcome, seconds=found["seconds"])

    def _write_recipe(self, name: str, recipe: Recipe) -> Path:
        path = self.folder / f"{name}.yaml"
        make_folder(path.parent)
        write_text(path, recipe.to_yaml())
        return path

    def _fastest(self, finish: Finish) -> TrialRecord:
        """Of those that could win, as they are measured in turns."""
        if len(finish.best) == 1 or self.goal.objective != LATENCY:
            return finish.best[0]
        numbers = [trial.number for trial in finish.best]
        whole = [entry for entry in self.log.of("timed") if None not in entry["ratios"]]
        known = next((entry for entry in whole if entry["trials"] == numbers), None)
        ratios = known["ratios"] if known else self._timed(numbers)
        measured = zip(ratios, finish.best, strict=True)
        timed = [(ratio, trial.number, trial) for ratio, trial in measured if ratio is not None]
        return min(timed)[2] if timed else finish.best[0]

    def _timed(self, numbers: Sequence[int]) -> list[float | None]:
        """Their times over the teacher's; only whole measurements are recorded, others are tried again."""
        folders = [str(self.folder / TRIALS / f"{number:03d}") for number in numbers]
        found = self._job("time", recipe=str(self.folder / TRIALS / f"{numbers[0]:03d}.yaml"), folders=folders)
        records = found.get("result", {})
        ratios = [record["ratio"] if (record := records.get(folder, {})).get("valid") else None for folder in folders]
        if None not in ratios:
            self.log.append("timed", trials=numbers, ratios=ratios, seconds=found["seconds"])
        elif "error" in found:
            logger.warning(f"the finalists' times were not measured, predictions choose: {found['error']}")
        elif records:
            lost = ", ".join(str(number) for number, ratio in zip(numbers, ratios, strict=True) if ratio is None)
            logger.warning(
                f"of trials {lost} there is no valid time, and they do not win by it; a quieter machine helps"
            )
        return ratios

    def _run_winner(self, winner: TrialRecord) -> tuple[Report, float]:
        recipe = self.points.recipe(winner.arm, winner.share, winner.level, winner.choices)
        path = self.folder / WINNER_RECIPE
        write_text(path, recipe.to_yaml())
        logger.info(f"the winner, trial {winner.number} ({winner.arm}{_at(winner.share)}), on the test samples")
        place, cache = self.folder / WINNER, self.folder / CACHE
        found = self._job("run", recipe=str(path), folder=str(place), cache=str(cache), command=self.command)
        if "error" in found:
            raise EdgekdError(f"the winner's run failed: {found['error']}; the same command tries it again")
        return load_report(place), found["seconds"]

    def _has_time_for(self, action: Action) -> bool:
        if self.limit is None:
            return True
        return self.seconds + self._expected(action) + self.forecast.last_run(self.log) < self.limit

    def _expected(self, action: Action) -> float:
        if isinstance(action, TrainCandidate):
            return self.forecast.training(action, self.log)
        return self.forecast.price(self.log)

    def _hopeless_at_half(self) -> bool:
        if self.limit is None or self.seconds < HALF * self.limit:
            return False
        study = self.study()
        study.next()
        return study.is_hopeless

    def _progress(self) -> str:
        most = f" of {_clock(self.limit)}" if self.limit else ""
        return f"{_clock(self.seconds)}{most} spent"

    @property
    def _of(self) -> str:
        return "time" if self.goal.is_timed else "size"

    def _say_left(self, left: Mapping[str, str]) -> None:
        said = {entry["arm"] for entry in self.log.of("left")}
        for name, reason in left.items():
            if name not in said:
                logger.info(f"{name} is left: {reason}")
                self.log.append("left", arm=name, reason=reason)

    def _summary(self, finish: Finish, winner: TrialRecord | None, report: Report | None) -> JsonObject:
        trials = self.log.of("trial")
        document: JsonObject = {
            "schema_version": SCHEMA_VERSION,
            "objective": self.goal.objective,
            "met": report is not None and (report.budget is None or report.budget.met),
            "reason": finish.reason,
            "unreachable": finish.unreachable,
            "candidates": len(trials),
            "trained": sum("figures" in entry for entry in trials),
            "failed": sum("error" in entry for entry in trials),
            "seconds": round(self.seconds, 1),
            "left": {entry["arm"]: entry["reason"] for entry in self.log.of("left")},
        }
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
        """The winner was chosen by its score, which flatters it; the curve through all of its arm does not."""
        metric = self.base.kind.metrics[0].name
        known: JsonObject = {"metric": metric, "drop": figures.drop, "error": figures.error, "n": figures.n}
        arm = next(arm for arm in self.study().arms if arm.name == winner.arm)
        if self.goal.allowed is None or arm.reach is None:
            return known
        mean, error = arm.curve(winner.level).at(winner.share)
        assurance = arm.curve(winner.level).assurance(winner.share)
        return {**known, "corrected_drop": mean, "corrected_error": error, "assurance": assurance}


def goal_of(space: Space) -> Goal:
    """Return what ``space`` asks for: its objective, and the bounds of its budget."""
    metric, budget = space.base.kind.metrics[0], space.base.budget
    drop = budget.drops.get(metric.name)
    costs = {"latency_ratio", "latency_ms", "size_ratio", "size_mb"}
    bounds = {name: bound for name, bound in budget.promises.items() if name in costs}
    allowed = None if drop is None else drop / metric.scale
    return Goal(space.objective, allowed, bounds, metric.scale, metric.unit_of_differences)


def _key(space: Space) -> str:
    """The hash of all that a search's decisions follow from: two of another objective or range are two searches."""
    arms = [
        [arm.name, dict(arm.document), [[each.name, asdict(each.values)] for each in arm.dimensions]]
        for arm in space.arms
    ]
    return sha256(canonical_json([space.base.to_json(), space.objective, arms]))


def _figures(entry: JsonObject) -> Figures | None:
    return Figures.from_json(entry["figures"]) if "figures" in entry else None


def _trial(entry: JsonObject) -> TrialRecord:
    known = ("number", "arm", "share", "level", "error", "seconds", "choices")
    return TrialRecord(**{name: entry[name] for name in known if name in entry}, figures=_figures(entry))


def _at(share: float) -> str:
    return "" if share == 1 else f" at {share:.1%}"


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{seconds / 60:.1f} min"


__all__: Sequence[str] = ("FitResult", "fit", "fit_folder", "goal_of")
