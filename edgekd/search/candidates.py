"""The candidates of a search: their recipes in its folder, their jobs, and what it records of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from edgekd.errors import EdgekdError, RecipeError, first_line
from edgekd.files import make_folder, write_text
from edgekd.log import get_logger
from edgekd.recipe import Recipe
from edgekd.records.candidate_figures import MACHINE, Figures
from edgekd.search.arm_state import TrialRecord
from edgekd.search.folder import CACHE, PRICES, TRIALS
from edgekd.search.goal import Goal
from edgekd.search.jobs import Jobs
from edgekd.search.points import Points, is_placed_by_measurement
from edgekd.search.study import Action, Price, TrainCandidate
from edgekd.search.study_log import START, StudyLog
from edgekd.search.time_spent import TimeSpent
from edgekd.strict_json import JsonObject
from edgekd.tasks.metric import Metric
from edgekd.tasks.registry import metric_named

logger = get_logger(__name__)

# Of a price: its costs are those of the file that a measured placement leaves. Older ones are those of all int8.
DEPLOYED = "deployed"
# Of an error in finding the first cost: it is that kind of student's own, and others may do.
OF_ONE_KIND = ("ModelError", "RecipeError", "ExportError")


@dataclass(frozen=True)
class CandidateJob:
    """A candidate whose job is under way; ``number`` is that of its run folder."""

    action: Price | TrainCandidate
    number: int


@dataclass(frozen=True)
class Candidates:
    """The candidates of a search in ``folder``, those under way in ``jobs`` and the others in ``log``.

    ``machine`` is what their times are of, if that is known.
    """

    folder: Path
    log: StudyLog
    points: Points
    goal: Goal
    jobs: Jobs[CandidateJob]
    clock: TimeSpent
    machine: str | None = None

    @property
    def arms(self) -> set[str]:
        """Return the arms that have a candidate under way."""
        return {candidate.action.arm for candidate in self.jobs.under_way}

    def start(self, action: Action) -> None:
        """Start the job that ``action`` asks for; or record that its values do not go together."""
        assert isinstance(action, Price | TrainCandidate)
        try:
            self._start(action)
        except RecipeError as error:
            # Each value was validated with the usual ones of other fields, not with what was chosen of them.
            if isinstance(action, Price):
                raise
            self._record_trial(action, self._next_number, {"error": first_line(error), "seconds": 0.0})

    def _start(self, action: Price | TrainCandidate) -> None:
        if isinstance(action, Price):
            recipe = self.points.untrained(action.arm, action.share)
            number, path = self._numbered(PRICES, recipe)
            # Times decide which file a measured placement leaves, and so its size.
            sized = self.goal.is_cost or bool(self.goal.bounds)
            timed, filed = self.goal.is_timed or (sized and is_placed_by_measurement(recipe)), True
            earlier: list[str] = []
        else:
            at = (action.arm, action.share, action.level, action.choices)
            recipe = self.points.trial(*at)
            number, path = self._numbered(TRIALS, recipe)
            values = "".join(f", {name} {value}" for name, value in action.choices.items())
            place = f"{action.arm}{at_share(action.share)}{values}"
            logger.info(f"trial {number}: {place}, training {action.level + 1}; {self.clock.words}")
            # A short training is compared with others of its kind alone, which its file would take longer than it.
            timed, filed = False, self.points.is_filed(*at)
            earlier = [str(self.folder / TRIALS / f"{each:03d}") for each in self._near] if filed else []
        about = {"of": path.parent.name, "number": number, "arm": action.arm, "share": action.share}
        self.log.append(START, **about, spent=round(self.clock.spent, 2))
        priced = self.log.of_machine("price", self.machine)
        known = (figures.teacher_ms for entry in priced if (figures := figures_of(entry)))
        self.jobs.start(
            CandidateJob(action, number),
            "try",
            recipe=str(path),
            folder=str(path.with_suffix("")),
            cache=str(self.folder / CACHE),
            timed=timed,
            filed=filed,
            teacher_ms=next(known, None),
            earlier=earlier,
        )

    def wait(self) -> None:
        """Wait until a job ends, and record what came of it.

        Raises:
            EdgekdError: the very first one failed, as all others would.
        """
        for candidate, found in self.jobs.wait():
            if isinstance(candidate.action, Price):
                self._record_price(candidate.action, found)
            else:
                self._record_trial(candidate.action, candidate.number, found)

    @property
    def _near(self) -> list[int]:
        """Return the numbers of those whose drop is about what is allowed."""
        return [
            entry["number"]
            for entry in self.log.of("trial")
            if (figures := figures_of(entry)) and self.goal.is_near(figures)
        ]

    @property
    def _next_number(self) -> int:
        """Return the number of a trial that has no run folder."""
        return next(each for each in self._free(TRIALS) if not (self.folder / TRIALS / f"{each:03d}.yaml").exists())

    def _free(self, kind: str) -> Iterator[int]:
        """Yield the numbers that no recorded candidate of this kind has, and none under way."""
        known, action = (self.log.of("price"), Price) if kind == PRICES else (self.log.of("trial"), TrainCandidate)
        taken = {each.number for each in self.jobs.under_way if isinstance(each.action, action)}
        taken |= {entry["number"] for entry in known if "number" in entry}
        return (number for number in count(len(known) + 1) if number not in taken)

    def _numbered(self, kind: str, recipe: Recipe) -> tuple[int, Path]:
        """Write the recipe with the next number. One that was begun for another recipe has that one's run folder."""
        text = recipe.to_yaml()
        paths = ((number, self.folder / kind / f"{number:03d}.yaml") for number in self._free(kind))
        number, path = next(each for each in paths if not each[1].exists() or each[1].read_text("utf-8") == text)
        make_folder(path.parent)
        write_text(path, text)
        return number, path

    def _record_price(self, action: Price, found: JsonObject) -> None:
        if "error" in found and not self.log.of("price") and found.get("kind") not in OF_ONE_KIND:
            raise EdgekdError(f"{found['error']}; {self.jobs.runner.log} has more")
        about = {"arm": action.arm, "share": action.share, DEPLOYED: True, MACHINE: self.machine}
        figures = self._record("price", found, **about)
        of = "time" if self.goal.is_timed else "size"
        words = f"{self.goal.cost(figures):.3f} of the teacher's {of}" if figures else str(found.get("error"))
        logger.info(f"  cost of {action.arm}{at_share(action.share)}: {words}")

    def _record_trial(self, action: TrainCandidate, number: int, found: JsonObject) -> None:
        about = {"arm": action.arm, "share": action.share, "level": action.level, "choices": dict(action.choices)}
        figures = self._record("trial", found, number=number, **about)
        say_outcome(number, figures, self.points.space.base.kind.metrics[0], found)

    def _record(self, event: str, found: JsonObject, **about: object) -> Figures | None:
        outcome = {"figures": found["result"]} if "result" in found else {"error": str(found["error"])}
        spent = round(self.clock.spent, 2)
        return figures_of(self.log.append(event, **about, **outcome, seconds=found["seconds"], spent=spent))


def say_outcome(number: int, figures: Figures | None, metric: Metric, found: JsonObject) -> None:
    """Log what a trial gave on the validation samples, or why it gave nothing."""
    if figures is None:
        logger.warning(f"trial {number} gave no network: {found.get('error')}")
        return
    changes = [metric.shown_change(metric.change(figures.drop))]
    for name, (drop, _) in figures.others.items():
        other = metric_named(name)
        changes.append(f"{other.shown_change(other.change(drop))} of {other.title}")
    value = f"{metric.title} {metric.precisely(figures.value)}"
    logger.info(f"  {value} on {figures.n} validation samples, {', '.join(changes)} to the teacher")


def figures_of(entry: JsonObject) -> Figures | None:
    """Return the figures of an event, or None where it has none."""
    return Figures.from_json(entry["figures"]) if "figures" in entry else None


def trial_of(entry: JsonObject) -> TrialRecord:
    """Return the trial that an event tells of."""
    known = ("number", "arm", "share", "level", "error", "seconds", "choices")
    return TrialRecord(**{name: entry[name] for name in known if name in entry}, figures=figures_of(entry))


def at_share(share: float) -> str:
    """Return the words for a share that a cut keeps, none where nothing is cut."""
    return "" if share == 1 else f" at {share:.1%}"
