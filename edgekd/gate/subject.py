"""What a gate compares: the figures of a run's deployed network, small enough to be read and committed.

A baseline file and a report become the same thing here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.files import read_content, read_object, write_json
from edgekd.gate.consistency import check_correct, check_evidence, check_files, check_report
from edgekd.gate.evidence import keep_evidence, named_evidence, remove_evidence
from edgekd.gate.row import GateRow
from edgekd.records import shape
from edgekd.records.evidence import WITH_BASELINE, WITH_REPORT, kept_evidence
from edgekd.records.facts import Facts, facts_of
from edgekd.records.readers import Malformed, under
from edgekd.records.rows import deployed_of, place_of, rows_of_deployed, task_of, teacher_of
from edgekd.tasks.registry import DEFAULT, TASKS
from edgekd.tasks.task import Task

KIND, SCHEMA_VERSION = "edgekd baseline", 1
REPORT_VERSION = 2
BUDGET_MISSED = "this run misses its own budget: later runs are compared with it, and not with the budget"
NO_RATIO = (
    "it has no ratio to the teacher's latency, so that a slower network passes, unless this was promoted with --files "
    "and 'edgekd run --beside' times the network in turns with them"
)


@dataclass(frozen=True)
class GateSubject:
    """A run or a baseline: its ``rows`` by the place where the network runs, and the ``facts`` that both must share.

    ``folder`` is where the files that it names lie, or None if that is not known.
    """

    name: str
    facts: Facts
    rows: Mapping[str, GateRow]
    task: type[Task] = TASKS[DEFAULT]
    folder: Path | None = field(default=None, compare=False)
    # A baseline does not say it: what it is compared with is its figures.
    misses_budget: bool = field(default=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the document of a baseline file."""
        about = {"kind": KIND, "schema_version": SCHEMA_VERSION, "name": self.name}
        about |= {} if self.task.name == DEFAULT else {"task": self.task.name}
        return {**about, "facts": self.facts, "rows": {place: row.to_json() for place, row in self.rows.items()}}

    def warnings(self) -> list[str]:
        """Say which regressions of later runs would pass if this became their baseline.

        Raises:
            EdgekdError: it lacks what every later run is compared with.
        """
        for row in self.rows.values():
            # Of a further metric there may be no figure, as R² of targets that never differ has none.
            is_kept = all(metric.name in row.kept for metric in self.task.metrics)
            if not is_kept or row.figure(self.task.metrics[0].name) is None:
                raise EdgekdError(
                    f"{self.name} on {row.place_text} does not keep what was predicted for each test sample, so that "
                    "no later run can be compared with it: run the recipe again with this version of edgekd"
                )
        times = {row.place_text: row.latency_ratio for row in self.rows.values() if row.latency_ratio}
        found = [BUDGET_MISSED] if self.misses_budget else []
        found += [] if times else [NO_RATIO]
        found += [
            f"on {place} the measurement was disturbed, so that a slower network is a warning at most: measure it again"
            for place, ratio in times.items()
            if not ratio.valid
        ]
        return found + [
            f"on {place} its latency has no interval, so that every later run fails: measure it again"
            for place, ratio in times.items()
            if ratio.ci95 is None
        ]

    def save(self, path: Path) -> list[Path]:
        """Write the baseline file, sorted and one figure a line, so that a change can be reviewed.

        Evidence goes to files next to it, which are returned; those that a baseline there named before are removed.

        Raises:
            EdgekdError: something else than a baseline lies there, or evidence has changed since it was read.
        """
        must_be_free_for_baseline(path)
        before = named_evidence(path)
        kept = replace(self, rows=keep_evidence(self.rows, self.folder, path))
        files = {row.evidence.file for row in kept.rows.values() if row.evidence}
        write_json(path, kept.to_json())
        remove_evidence(path, before - files)
        return [path.parent / file for file in sorted(files)]


def must_be_free_for_baseline(path: Path) -> None:
    """Refuse a place where something else than a baseline lies, be it a damaged one: EdgekdError."""
    if path.exists() and (content := read_content(path)).strip() and KIND.encode() not in content:
        raise EdgekdError(f"{path} is no baseline, so it is not replaced: name another file, or move it away")


def load_subject(path: Path) -> GateSubject:
    """Read a baseline file, a report.json or the folder of a run.

    Raises:
        EdgekdError: it cannot be read, is none of these, holds an impossible value, contradicts itself, or a file that
            it names is missing or another one.
    """
    file = path / "report.json" if path.is_dir() else path
    document = read_object(file, "give a report.json or a baseline")
    if document.get("kind") == KIND:
        return _of_baseline(document, file)
    if "rows" not in document or "recipe_sha256" not in document:
        raise EdgekdError(
            f"{file} is neither a report nor a baseline: give a run's report.json, or a file that 'edgekd baseline "
            "promote' wrote"
        )
    subject = subject_of(document, file, file.parent)
    try:
        check_files(rows_of_deployed(document), file.parent)
    except Malformed as found:
        raise Malformed(found.key, found.says, file) from None
    return subject


def subject_of(report: Mapping[str, Any], source: object = "the report", folder: Path | None = None) -> GateSubject:
    """Return the deployed network's figures from a report.json, at every place where it runs.

    Args:
        source: the file's name in messages.
        folder: of the report, for evidence in files.

    Raises:
        Malformed: a value is impossible, or two contradict each other.
        DataError: a file of evidence is missing or another one.
    """
    shape.must_have_shape(report, shape.report, REPORT_VERSION, source)
    data, task = report.get("data") or {}, task_of(report)
    rows = {}
    try:
        for key, value in (("rows", report.get("rows")), ("data.fingerprint", data.get("fingerprint"))):
            if not value:
                raise Malformed(key, "is missing, and a gate needs it")
        check_report(report, data.get("test"))
        teacher, last = teacher_of(report), deployed_of(report)
        teachers = {place_of(row): row for row in report["rows"] if row["model"] == teacher != last}
        for row in rows_of_deployed(report):
            kept = kept_evidence(row, task.metrics, folder, WITH_REPORT)
            check_evidence(row, kept, f"rows.{report['rows'].index(row)}")
            rows[place_of(row)] = GateRow.of_report(row, teachers.get(place_of(row)), task.metrics, kept)
    except Malformed as found:
        raise Malformed(found.key, found.says, source) from None
    misses = (report.get("budget") or {}).get("met") is False
    return GateSubject(str(report.get("name")), facts_of(report), rows, task, folder, misses)


def _of_baseline(document: Mapping[str, Any], path: Path) -> GateSubject:
    shape.must_have_shape(document, shape.baseline, SCHEMA_VERSION, path)
    facts, rows, task = document["facts"], {}, task_of(document)
    try:
        for place, row in document["rows"].items():
            key = under("rows", place)
            if place_of(row) != place:
                raise Malformed(key, f"its figures are of {place_of(row)}")
            check_correct(row, facts.get("test samples"), task.metrics, key)
            kept = kept_evidence(row, task.metrics, path.parent, WITH_BASELINE)
            check_evidence(row, kept, key)
            rows[place] = GateRow.from_json(row, task.metrics, kept)
    except Malformed as found:
        raise Malformed(found.key, found.says, path) from None
    return GateSubject(str(document.get("name")), facts, rows, task, path.parent)
