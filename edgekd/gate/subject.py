"""What a gate compares: the figures of a run's deployed network, small enough to be read and committed.

A baseline file and a report become the same thing here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.files import read_object, write_json
from edgekd.gate.consistency import check_correct, check_files, check_report
from edgekd.gate.row import GateRow
from edgekd.records import shape
from edgekd.records.facts import Facts, facts_of
from edgekd.records.readers import Malformed, under
from edgekd.records.rows import deployed_of, place_of, rows_of_deployed, teacher_of

KIND, SCHEMA_VERSION = "edgekd baseline", 1
REPORT_VERSION = 2


@dataclass(frozen=True)
class GateSubject:
    """A run or a baseline: its ``rows`` by the place where the network runs, and the ``facts`` that both must share."""

    name: str
    facts: Facts
    rows: Mapping[str, GateRow]

    def to_json(self) -> dict[str, Any]:
        """Return the document of a baseline file."""
        about = {"kind": KIND, "schema_version": SCHEMA_VERSION, "name": self.name}
        return {**about, "facts": self.facts, "rows": {place: row.to_json() for place, row in self.rows.items()}}

    def warnings(self) -> list[str]:
        """Say which regressions of later runs would pass if this became their baseline.

        Raises:
            EdgekdError: it lacks what every later run is compared with.
        """
        for place, row in self.rows.items():
            if row.accuracy is None or row.correct is None:
                raise EdgekdError(
                    f"{self.name} on {place} does not say which test samples were classified correctly, so that no "
                    "later run can be compared with it: run the recipe again with this version of edgekd"
                )
        times = {place: row.latency_ratio for place, row in self.rows.items() if row.latency_ratio}
        found = [] if times else ["it has no ratio to the teacher's latency, so that a slower network will pass"]
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

    def save(self, path: Path) -> None:
        """Write the baseline file, sorted and one figure a line, so that a change can be reviewed."""
        write_json(path, self.to_json())


def load_subject(path: Path) -> GateSubject:
    """Read a baseline file, a report.json or the folder of a run.

    Raises:
        EdgekdError: it cannot be read, is none of these, holds an impossible value, or contradicts itself.
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
    subject = subject_of(document, file)
    try:
        check_files(rows_of_deployed(document), file.parent)
    except Malformed as found:
        raise Malformed(found.key, found.says, file) from None
    return subject


def subject_of(report: Mapping[str, Any], source: object = "the report") -> GateSubject:
    """Return the deployed network's figures from a report.json, at every place where it runs.

    Raises:
        Malformed: a value is impossible, or two contradict each other; ``source`` is the file's name in the message.
    """
    shape.must_have_shape(report, shape.report, REPORT_VERSION, source)
    data = report.get("data") or {}
    try:
        for key, value in (("rows", report.get("rows")), ("data.fingerprint", data.get("fingerprint"))):
            if not value:
                raise Malformed(key, "is missing, and a gate needs it")
        check_report(report, data.get("test"))
    except Malformed as found:
        raise Malformed(found.key, found.says, source) from None
    teacher, last = teacher_of(report), deployed_of(report)
    teachers = {place_of(row): row for row in report["rows"] if row["model"] == teacher != last}
    return GateSubject(
        name=str(report.get("name")),
        facts=facts_of(report),
        rows={place_of(row): GateRow.of_report(row, teachers.get(place_of(row))) for row in rows_of_deployed(report)},
    )


def _of_baseline(document: Mapping[str, Any], path: Path) -> GateSubject:
    shape.must_have_shape(document, shape.baseline, SCHEMA_VERSION, path)
    facts, rows = document["facts"], document["rows"]
    try:
        for place, row in rows.items():
            key = under("rows", place)
            if place_of(row) != place:
                raise Malformed(key, f"its figures are of {place_of(row)}")
            check_correct(row, facts.get("test samples"), key)
    except Malformed as found:
        raise Malformed(found.key, found.says, path) from None
    read = {place: GateRow.from_json(row) for place, row in rows.items()}
    return GateSubject(str(document.get("name")), facts, read)
