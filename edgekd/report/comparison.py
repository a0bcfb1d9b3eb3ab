"""The comparison of several runs: the deployed network of each, and how their accuracies differ in pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from edgekd.formatting import ABSENT, RESULTS, Column, percent
from edgekd.records.facts import facts_of
from edgekd.report.classes import points
from edgekd.report.deployed import deployed
from edgekd.report.schema import Report, Row
from edgekd.report.steps import ONE_SIDED
from edgekd.report.verdict import headline
from edgekd.stats.correct import decode_correct
from edgekd.stats.paired import drop

Reports = Mapping[str, Report]

BY_HEADING = {column.heading: column for column in RESULTS}
RUNS = (
    Column("Run", lambda run: run["run"], number=False),
    Column("Verdict", lambda run: run["verdict"], number=False),
    *(BY_HEADING[heading] for heading in ("Accuracy", "Times faster", "p50 ms", "Size")),
    Column("Network", lambda run: f"{run['model']}, {run['precision']}", number=False),
    Column("Runtime", lambda run: run["runtime"], number=False),
    *(BY_HEADING[heading] for heading in ("Params", "MACs")),
)
PAIRS = (
    Column("Run", lambda pair: pair.run, number=False),
    Column("Compared with", lambda pair: pair.reference, number=False),
    Column("Accuracy", lambda pair: pair.accuracy, number=False),
    Column("Lost", lambda pair: ABSENT if pair.lost is None else str(pair.lost)),
    Column("Won", lambda pair: ABSENT if pair.won is None else str(pair.won)),
)


class DeployedRow(NamedTuple):
    """The row of a run that its budget is judged on."""

    run: str
    report: Report
    row: Row


def deployed_rows(reports: Reports) -> list[DeployedRow]:
    """Return the deployed network's row of each run that measured anything."""
    found = ((name, report, deployed(report)) for name, report in reports.items())
    return [DeployedRow(name, report, row) for name, report, row in found if row is not None]


def run_rows(reports: Reports) -> list[dict[str, Any]]:
    """Return each run's row as JSON, with ``run`` and ``verdict``."""
    return [
        {**each.row.to_json(), "run": each.run, "verdict": headline(each.report)} for each in deployed_rows(reports)
    ]


@dataclass(frozen=True)
class PairedAccuracy:
    """The difference of a run's accuracy from the ``reference`` run's, in points with its 95 % interval, or why not.

    ``lost`` and ``won`` are samples that only the one or only the other classifies correctly.
    """

    run: str
    reference: str
    accuracy: str
    lost: int | None = None
    won: int | None = None

    def to_json(self) -> dict[str, Any]:
        counts = {} if self.lost is None else {"lost": self.lost, "won": self.won}
        return {"run": self.run, "beside": self.reference, "accuracy": self.accuracy, **counts}


def pairs(reports: Reports) -> list[PairedAccuracy]:
    """Compare each run's accuracy with the first one's, on the same samples."""
    found = deployed_rows(reports)
    return [pair(found[0], other) for other in found[1:]]


def pair(first: DeployedRow, other: DeployedRow) -> PairedAccuracy:
    """Compare the accuracies of two runs."""

    def not_compared(why: str) -> PairedAccuracy:
        return PairedAccuracy(other.run, first.run, f"not compared: {why}")

    if first.report.data is None or other.report.data is None:
        return not_compared("a report does not say what was tested on")
    if first.report.data.fingerprint != other.report.data.fingerprint:
        return not_compared("the test sets differ")
    before, after = (decode_correct(each.row.right, each.row.n) for each in (first, other))
    if not before or not after or len(before) != len(after):
        return not_compared("the predictions were not kept; run both again")
    lost = drop(before, after, ONE_SIDED)
    text = points(-100 * lost.value, (-100 * lost.at_most, -100 * lost.at_least))
    return PairedAccuracy(other.run, first.run, text, lost.lost, lost.won)


def differences(reports: Reports) -> list[str]:
    """List the facts of data and machine in which the runs differ, one a line."""
    facts = {name: facts_of(report.to_json()) for name, report in reports.items() if report.rows}
    keys = dict.fromkeys(key for each in facts.values() for key in each)
    return [
        f"{key}: " + "; ".join(f"{name}: {short(each.get(key))}" for name, each in facts.items())
        for key in keys
        if len({str(each.get(key)) for each in facts.values()}) > 1
    ]


def short(fact: object, limit: int = 40) -> str:
    text = ABSENT if fact is None else " ".join(map(str, fact)) if isinstance(fact, list) else str(fact)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def marks(reports: Reports) -> list[Row]:
    """Return the rows for one picture of all runs; each machine counts as a device of its own."""
    machines = {each.run: machine(each.report) for each in deployed_rows(reports)}
    several = len(set(machines.values())) > 1
    return [
        each.row.model_copy(update={"model": each.run} | ({"device": machines[each.run]} if several else {}))
        for each in deployed_rows(reports)
    ]


def machine(report: Report) -> str:
    return str((report.environment.get("cpu") or {}).get("model") or ABSENT)


def summary(reports: Reports) -> str:
    """Say in one sentence how many runs met their budget, and which is the most accurate."""
    found = deployed_rows(reports)
    met = [each for each in found if each.report.budget and each.report.budget.checks and each.report.budget.met]
    best = max(found, key=lambda each: each.row.accuracy or 0, default=None)
    most = f"; the most accurate is {best.run} with {percent(best.row.accuracy)}" if best and best.row.accuracy else ""
    return f"{len(met)} of {len(reports)} runs met their budget{most}."
