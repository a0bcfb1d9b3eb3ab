"""The record of a search, read from its folder: what was tried in which order, and what came of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from edgekd.errors import EdgekdError
from edgekd.files import read_content, read_object
from edgekd.formatting import exceeds
from edgekd.options import Budget
from edgekd.records.candidate_figures import MACHINE, Figures
from edgekd.report.candidate_cost import ENERGY, LATENCY, SIZE, cost_between, cost_ratio, is_timed
from edgekd.report.load import JOURNAL, NAME, WINNER, load_report
from edgekd.report.pareto import front
from edgekd.report.schema import Report
from edgekd.strict_json import JsonObject, build_record, parse
from edgekd.tasks.metric import Metric
from edgekd.tasks.registry import DEFAULT, TASKS

SUMMARY, WINNER_RECIPE, ANY_RECIPE = "fit.json", "winner.yaml", "forecast.yaml"
FIRST_RECIPE = "trials/001.yaml"
# Of the teacher's, by the names that events have for them.
MEASURED = {LATENCY: "ratios", ENERGY: "energies"}
# Of standard errors: a 95 % interval.
REACH = 1.96
# What the winner's drop is corrected by where its quality is what was made best.
CANDIDATES = "candidates"
# Of a summary: whatever was tried failed.
MADE_NOTHING = "made_nothing"


@dataclass(frozen=True)
class SearchCandidate:
    """A network that a search tried: a kind of student, the share that its cut keeps, and a length of training.

    Attributes:
        number: in the order of trials; 0 for one that was priced and not trained.
        share: 1 where nothing is cut.
        level: of the lengths of training, from 0 on.
        figures: None where there is no network, for the reason ``error``.
    """

    arm: str
    share: float
    number: int = 0
    level: int = 0
    seconds: float = 0.0
    error: str | None = None
    choices: Mapping[str, object] | None = None
    figures: Figures | None = None

    @property
    def features(self) -> dict[str, object]:
        """Return where it is in the space, by names for people and those of its open fields."""
        return {"kind": self.arm, "kept": self.share, "training": self.level + 1, **(self.choices or {})}


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return the last part of each dotted name; the whole name where another has that part too."""
    last = {name: name.rpartition(".")[2] for name in names}
    return {name: own if list(last.values()).count(own) == 1 else name for name, own in last.items()}


@dataclass(frozen=True)
class FitRecord:
    """A search as its folder has it.

    Attributes:
        objective: what was made best.
        levels: the number of lengths of training of each kind of student, in the order of the space.
        priced, trials: oldest first.
        left: why kinds of students were not followed any more.
        others: the further metrics that are bounded.
        measured: what was measured of trials that could win, over the teacher's: ``latency`` or ``energy``, by number.
        summary: ``fit.json``, empty before the search has ended.
        recipe: of the winner, as YAML; empty where there is none.
        report: of the winner's run.
    """

    name: str
    objective: str
    metric: Metric
    budget: Budget
    levels: Mapping[str, int]
    priced: tuple[SearchCandidate, ...]
    trials: tuple[SearchCandidate, ...]
    left: Mapping[str, str]
    summary: JsonObject
    recipe: str = ""
    report: Report | None = None
    measured: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    others: Sequence[Metric] = ()

    @property
    def winner(self) -> SearchCandidate | None:
        """Return the trial that won, or None."""
        number = (self.summary.get("winner") or {}).get("trial")
        return next((trial for trial in self.trials if trial.number == number), None)

    @property
    def largest_drop(self) -> float | None:
        """Return how much worse the metric may be, in its own scale; None where nothing bounds it."""
        return self._most(self.metric) if self.metric.name in self.budget.drops else None

    def keeps_drops(self, figures: Figures) -> bool:
        """Tell whether each metric that is bounded is within its bound."""
        if self.largest_drop is not None and exceeds(figures.drop, self.largest_drop):
            return False
        known = (each for each in self.others if each.name in figures.others)
        return not any(exceeds(figures.others[each.name][0], self._most(each)) for each in known)

    def _most(self, metric: Metric) -> float:
        return self.budget.drops[metric.name] / metric.scale

    def signed(self, drop: float) -> float:
        """Return a drop as the change of the metric: above 0 for a worse network where lower values are better."""
        return self.metric.change(drop)

    def change(self, figures: Figures) -> tuple[float, tuple[float, float]]:
        """Return the change of the metric from the teacher's, in its own scale, and its 95 % interval."""
        return _with_interval(self.metric, figures.drop, figures.error)

    def changes(self, figures: Figures) -> dict[str, str]:
        """Return the change by each metric that is judged, the first one first, in words by its title.

        Searches that are older than the figures of further metrics have none.
        """
        first = {self.metric.title: self.metric.shown_change(*self.change(figures))}
        known = {each: figures.others[each.name] for each in self.others if each.name in figures.others}
        return first | {each.title: each.shown_change(*_with_interval(each, *found)) for each, found in known.items()}

    @cached_property
    def known(self) -> list[tuple[SearchCandidate, Figures, float]]:
        """Return the trials that gave a network, with its figures and its cost."""
        return [(trial, trial.figures, self.cost(trial)) for trial in self.trials if trial.figures is not None]

    @property
    def front(self) -> list[SearchCandidate]:
        """Return the trials that no other one beats in both cost and quality, the cheapest first."""
        pairs = [(cost, -figures.drop) for _, figures, cost in self.known]
        return [self.known[place][0] for place in front(pairs)]

    def cost(self, candidate: SearchCandidate) -> float:
        """Return the predicted cost over the teacher's, by which the search chose.

        A trial costs what its kind of student was priced at, between the shares that were.
        """
        prices = {each.share: each.figures for each in self.priced if each.arm == candidate.arm and each.figures}
        if not prices:
            return self._cost(candidate.figures) if candidate.figures else float("nan")
        return cost_between(candidate.share, {share: self._cost(figures) for share, figures in prices.items()})

    @property
    def cost_name(self) -> str:
        """Return the words for the cost."""
        if self.objective == SIZE or not self._is_timed:
            return "size"
        return "predicted latency" if self._has_times else "multiply-accumulates"

    @cached_property
    def _has_times(self) -> bool:
        return any(each.figures and each.figures.ms for each in (*self.priced, *self.trials))

    @property
    def _is_timed(self) -> bool:
        # A sweep, which chooses nothing, has times of its trials without a bound on them.
        return any(each.figures and each.figures.ms for each in self.trials) or is_timed(
            self.objective, self.budget.promises
        )

    def _cost(self, figures: Figures) -> float:
        return cost_ratio(figures, self.objective, self._is_timed)


def _with_interval(metric: Metric, drop: float, error: float) -> tuple[float, tuple[float, float]]:
    change, reach = metric.change(drop), REACH * error
    return change, (change - reach, change + reach)


def is_fit(folder: Path) -> bool:
    """Tell whether ``folder`` is of a search."""
    return folder.is_dir() and (folder / JOURNAL).is_file() and not (folder / NAME).is_file()


def read_fit(folder: Path) -> FitRecord:
    """Read the search in ``folder``, which may not have ended yet.

    Raises:
        EdgekdError: it has not begun, or its record is damaged.
    """
    events = _events(folder / JOURNAL)
    begun = next((event for event in events if event["event"] == "begin"), None)
    if begun is None:
        raise EdgekdError(f"{folder} holds a search that has not begun; the same 'edgekd fit' goes on with it")
    recipe = _recipe(folder)
    winner = folder / WINNER
    summary = folder / SUMMARY
    budget = Budget.model_validate(recipe.get("budget", {}))
    metric, *others = TASKS[recipe.get("task") or DEFAULT].metrics
    return FitRecord(
        name=str(recipe.get("name", folder.name)),
        objective=begun["objective"],
        metric=metric,
        budget=budget,
        levels={arm["name"]: arm.get("levels", 1) for arm in begun["arms"]},
        priced=tuple(map(_candidate, _of_last_machine(events, "price"))),
        trials=tuple(map(_candidate, _of_last_machine(events, "trial"))),
        left={event["arm"]: event["reason"] for event in events if event["event"] == "left"},
        summary=read_object(summary, "the same 'edgekd fit' writes it again") if summary.is_file() else {},
        recipe=(folder / WINNER_RECIPE).read_text(encoding="utf-8") if (folder / WINNER_RECIPE).is_file() else "",
        report=load_report(winner) if (winner / NAME).is_file() else None,
        others=[each for each in others if each.name in budget.drops],
        measured={name: found for name in MEASURED if (found := _measured(events, MEASURED[name]))},
    )


def _measured(events: Sequence[JsonObject], name: str) -> dict[int, float]:
    known = [each for each in _of_last_machine(events, "timed") if name in each]
    pairs = (pair for each in known for pair in zip(each["trials"], each[name], strict=True))
    return {number: value for number, value in pairs if value is not None}


def _of_last_machine(events: Sequence[JsonObject], kind: str) -> list[JsonObject]:
    """Return the events of one kind without those whose times are of a machine that the search has left."""
    found = [each for each in events if each["event"] == kind]
    last = next((each[MACHINE] for each in reversed(found) if each.get(MACHINE)), None)
    return [each for each in found if last is None or each.get(MACHINE) in (None, last)]


def _events(path: Path) -> list[JsonObject]:
    # The last line is not yet an event where writing it was cut short.
    *lines, _ = read_content(path, EdgekdError, 1 << 28).split(b"\n")
    try:
        return [dict(parse(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise EdgekdError(f"{path} is no record of a search: {error}; give a folder that 'edgekd fit' made") from error


def _recipe(folder: Path) -> JsonObject:
    """Return the recipe of any trial: they differ in student and stages alone."""
    known = (WINNER_RECIPE, ANY_RECIPE, FIRST_RECIPE)
    path = next((folder / name for name in known if (folder / name).is_file()), None)
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
    return found if isinstance(found, dict) else {}


def _candidate(event: JsonObject) -> SearchCandidate:
    figures = build_record(Figures, event["figures"]) if "figures" in event else None
    return build_record(
        SearchCandidate, {key: value for key, value in event.items() if key != "figures"}, figures=figures
    )
