"""The comparison of several runs: the deployed network of each, and how their task's first metric differs in pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from edgekd.errors import EdgekdError
from edgekd.formatting import ABSENT, COST, Column, place_text, shows_costs
from edgekd.records.facts import facts_of
from edgekd.report.deployed import deployed
from edgekd.report.paired import ONE_SIDED, Placed, difference, shown_difference
from edgekd.report.schema import Report, Row
from edgekd.report.verdict import headline
from edgekd.tasks.metric import Metric, result_columns

Reports = Mapping[str, Report]

IN_SHORT, IN_DETAIL = ("Times faster", "p50 ms", "Size"), ("Params", "MACs")


def metric_of(reports: Reports) -> Metric:
    """Return the first metric of the task that the runs are for.

    Raises:
        EdgekdError: they are for several tasks.
    """
    found = {report.metrics[0].name: report.metrics[0] for report in reports.values()}
    if len(found) > 1:
        tasks = "; ".join(f"{name}: {report.metrics[0].title}" for name, report in reports.items())
        raise EdgekdError(f"the runs are for tasks of other metrics and cannot be compared: {tasks}")
    (metric,) = found.values()
    return metric


def run_columns(reports: Reports) -> list[Column]:
    """Return the columns of a table of :func:`run_rows`."""
    metric = metric_of(reports)
    by_heading = {column.heading: column for column in result_columns([metric])}
    in_short = (*IN_SHORT, *([COST.heading] if shows_costs(run_rows(reports)) else []))
    return [
        Column("Run", lambda run: run["run"], number=False),
        Column("Verdict", lambda run: run["verdict"], number=False),
        *(by_heading[heading] for heading in (metric.heading, *in_short)),
        Column("Network", lambda run: f"{run['model']}, {run['precision']}", number=False),
        Column("Where", place_text, number=False),
        *(by_heading[heading] for heading in IN_DETAIL),
    ]


def pair_columns(metric: Metric) -> list[Column]:
    """Return the columns of a table of :func:`pairs`."""
    counts = [
        Column("Lost", lambda pair: ABSENT if pair.lost is None else str(pair.lost)),
        Column("Won", lambda pair: ABSENT if pair.won is None else str(pair.won)),
    ]
    return [
        Column("Run", lambda pair: pair.run, number=False),
        Column("Compared with", lambda pair: pair.reference, number=False),
        Column(metric.heading, lambda pair: pair.difference, number=False),
        *(counts if metric.test == "mcnemar" else []),
    ]


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
class PairedRuns:
    """The difference of a run's ``metric`` from the ``reference`` run's, with its 95 % interval, or why there is none.

    ``lost`` and ``won`` are samples that only the one or only the other predicts correctly, where samples are right or
    wrong.
    """

    run: str
    reference: str
    metric: str
    difference: str
    lost: int | None = None
    won: int | None = None

    def to_json(self) -> dict[str, Any]:
        counts = {} if self.lost is None else {"lost": self.lost, "won": self.won}
        return {"run": self.run, "beside": self.reference, self.metric: self.difference, **counts}


def pairs(reports: Reports, folders: Mapping[str, Path] | None = None) -> list[PairedRuns]:
    """Compare each run's metric with the first one's, on the same samples.

    ``folders`` are the runs' by name, for evidence in files.
    """
    found, metric = deployed_rows(reports), metric_of(reports)
    return [pair(found[0], other, metric, folders or {}) for other in found[1:]]


def pair(first: DeployedRow, other: DeployedRow, metric: Metric, folders: Mapping[str, Path]) -> PairedRuns:
    """Compare two runs."""

    def not_compared(why: str) -> PairedRuns:
        return PairedRuns(other.run, first.run, metric.name, f"not compared: {why}")

    if first.report.data is None or other.report.data is None:
        return not_compared("a report does not say what was tested on")
    if first.report.data.fingerprint != other.report.data.fingerprint:
        return not_compared("the test sets differ")
    before, after = (Placed(each.row, folders.get(each.run)) for each in (first, other))
    found = difference(metric, before, after, ONE_SIDED)
    if found is None:
        return not_compared("the predictions were not kept; run both again")
    return PairedRuns(other.run, first.run, metric.name, shown_difference(metric, found), found.lost, found.won)


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
    """Say in one sentence how many runs met their budget, and which one's metric is the best."""
    found, metric = deployed_rows(reports), metric_of(reports)
    met = [each for each in found if each.report.budget and each.report.budget.checks and each.report.budget.met]
    values = [(value, each.run) for each in found if (value := each.row.figure(metric)) is not None]
    said = ""
    if values:
        best, run = (max if metric.better == "higher" else min)(values, key=lambda each: each[0])
        said = f"; the best {metric.title} is {metric.shown(best)}, of {run}"
    return f"{len(met)} of {len(reports)} runs met their budget{said}."
