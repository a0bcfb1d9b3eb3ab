"""Several runs beside each other: what each hands over, and how their accuracies differ in pairs."""

from collections.abc import Mapping
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
    Column("Run", lambda pair: pair["run"], number=False),
    Column("Beside", lambda pair: pair["beside"], number=False),
    Column("Accuracy", lambda pair: pair["accuracy"], number=False),
    Column("Lost", lambda pair: str(pair.get("lost", ABSENT))),
    Column("Won", lambda pair: str(pair.get("won", ABSENT))),
)


class Handed(NamedTuple):
    """The last network of a run, where the budget looks at it."""

    run: str
    report: Report
    row: Row


def handed_over(reports: Reports) -> list[Handed]:
    """By the runs' names; a run that measured nothing has none."""
    found = ((name, report, deployed(report)) for name, report in reports.items())
    return [Handed(name, report, row) for name, report, row in found if row is not None]


def run_rows(reports: Reports) -> list[dict[str, Any]]:
    """The row of each run's last network as JSON, with ``run`` and ``verdict``."""
    return [{**each.row.to_json(), "run": each.run, "verdict": headline(each.report)} for each in handed_over(reports)]


def pairs(reports: Reports) -> list[dict[str, Any]]:
    """Each run's accuracy beside the first one's, on the same samples where they are the same."""
    found = handed_over(reports)
    return [{"run": other.run, "beside": found[0].run, **pair(found[0], other)} for other in found[1:]]


def pair(first: Handed, other: Handed) -> dict[str, Any]:
    """Points with a 95 % interval, and how many samples were ``lost`` and ``won``; or why there is none."""
    if first.report.data is None or other.report.data is None:
        return {"accuracy": "not compared: a report does not say what was tested on"}
    if first.report.data.fingerprint != other.report.data.fingerprint:
        return {"accuracy": "not compared: the test sets differ"}
    before, after = (decode_correct(each.row.right, each.row.n) for each in (first, other))
    if not before or not after or len(before) != len(after):
        return {"accuracy": "not compared: which answers were right was not kept; run both again"}
    lost = drop(before, after, ONE_SIDED)
    return {
        "accuracy": points(-100 * lost.value, (-100 * lost.at_most, -100 * lost.at_least)),
        "lost": lost.lost,
        "won": lost.won,
    }


def differences(reports: Reports) -> list[str]:
    """The facts of data and machine in which the runs differ, one line each."""
    facts = {name: facts_of(report.to_json()) for name, report in reports.items() if report.rows}
    keys = dict.fromkeys(key for each in facts.values() for key in each)
    return [
        f"{key}: " + "; ".join(f"{name}: {short(each.get(key))}" for name, each in facts.items())
        for key in keys
        if len({str(each.get(key)) for each in facts.values()}) > 1
    ]


def short(fact: Any, limit: int = 40) -> str:
    text = ABSENT if fact is None else " ".join(map(str, fact)) if isinstance(fact, list) else str(fact)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def marks(reports: Reports) -> list[Row]:
    """The rows for one picture of all runs; those of several machines are several places."""
    machines = {each.run: machine(each.report) for each in handed_over(reports)}
    several = len(set(machines.values())) > 1
    return [
        each.row.model_copy(update={"model": each.run} | ({"device": machines[each.run]} if several else {}))
        for each in handed_over(reports)
    ]


def machine(report: Report) -> str:
    return str((report.environment.get("cpu") or {}).get("model") or ABSENT)


def said(reports: Reports) -> str:
    """One sentence: who met the budget, and who is the most accurate."""
    found = handed_over(reports)
    met = [each for each in found if each.report.budget and each.report.budget.checks and each.report.budget.met]
    best = max(found, key=lambda each: each.row.accuracy or 0, default=None)
    most = f"; the most accurate is {best.run} with {percent(best.row.accuracy)}" if best and best.row.accuracy else ""
    return f"{len(met)} of {len(reports)} runs met their budget{most}."
