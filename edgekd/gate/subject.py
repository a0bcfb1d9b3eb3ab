"""What a gate compares: the figures of a run's last network, small enough to be read and committed.

A baseline file and a report become the same thing here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.files import read_object, write_json
from edgekd.gate.sound import answers_must_agree, files_must_agree, must_agree
from edgekd.records.facts import facts_of
from edgekd.records.rows import PLACE, deployed_of, place_of, rows_of_deployed, teacher_of
from edgekd.records.shape import BASELINE, REPORT, TEACHER, Malformed, must_have_shape, under
from edgekd.stats.correct import decode_correct

KIND, SCHEMA_VERSION = "edgekd baseline", 1
REPORT_VERSION = 2
# Of a report's row, as they are.
FIGURES = (
    "accuracy", "n", "right", "file_sha256", "size_bytes", "params", "macs", "precision", "operators", "int8_coverage"
)  # fmt: skip
# Of a report alone: a baseline is what later runs are timed beside.
BESIDE = "latency_vs_baseline"


@dataclass(frozen=True)
class GateSubject:
    """``facts`` must be the same in both for a comparison; ``rows`` are figures by where the network runs.

    Figures are as they were read: of their types and within their ranges, and absent where they were not measured.
    """

    name: str
    facts: dict[str, Any]
    rows: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        about = {"kind": KIND, "schema_version": SCHEMA_VERSION, "name": self.name}
        rows = {
            place: {name: value for name, value in row.items() if name != BESIDE} for place, row in self.rows.items()
        }
        return {**about, "facts": self.facts, "rows": rows}

    def doubts(self) -> list[str]:
        """Say what a gate will not see of later runs, if this becomes their baseline.

        Raises:
            EdgekdError: it lacks what every later run is held to.
        """
        for place, row in self.rows.items():
            if row.get("accuracy") is None or right_of(row) is None:
                raise EdgekdError(
                    f"{self.name} on {place} does not say which test samples it had right, so that no later run can be "
                    "held to it: run the recipe again with this version of edgekd"
                )
        times = {place: row["latency_ratio"] for place, row in self.rows.items() if "latency_ratio" in row}
        found = [] if times else ["it has no latency beside the teacher's, so that a slower network will pass"]
        found += [
            f"on {place} it was measured in trouble, so that a slower network is a warning at most: measure it again"
            for place, ratio in times.items()
            if not ratio["valid"]
        ]
        return found + [
            f"on {place} its latency has no interval, so that every later run fails: measure it again"
            for place, ratio in times.items()
            if "ci95" not in ratio
        ]

    def save(self, path: Path) -> None:
        """Sorted, one figure a line, so that a change can be reviewed."""
        write_json(path, self.to_json())


def load_subject(path: Path) -> GateSubject:
    """Return what a baseline file, a report.json or the folder of a run says.

    Raises:
        EdgekdError: it cannot be read, is neither, or holds what cannot be or contradicts itself.
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
        files_must_agree(rows_of_deployed(document), file.parent)
    except Malformed as found:
        raise Malformed(found.key, found.says, file) from None
    return subject


def subject_of(report: Mapping[str, Any], source: object = "the report") -> GateSubject:
    """Return what a report.json says of the deployed network, wherever it runs.

    Raises:
        Malformed: it holds what cannot be, or contradicts itself; ``source`` is how the message calls it.
    """
    must_have_shape(report, REPORT, REPORT_VERSION, source)
    data = report.get("data") or {}
    try:
        for key, value in (("rows", report.get("rows")), ("data.fingerprint", data.get("fingerprint"))):
            if not value:
                raise Malformed(key, "is missing, and a gate needs it")
        must_agree(report, data.get("test"))
    except Malformed as found:
        raise Malformed(found.key, found.says, source) from None
    teacher, last = teacher_of(report), deployed_of(report)
    teachers = {place_of(row): row for row in report["rows"] if row["model"] == teacher != last}
    return GateSubject(
        name=str(report.get("name")),
        facts=facts_of(report),
        rows={place_of(row): _figures(row, teachers.get(place_of(row))) for row in rows_of_deployed(report)},
    )


def is_beside(baseline: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Tell whether the file of the row ``current`` was timed in turns with that of the row ``baseline``."""
    agreed = baseline.get("file_sha256")
    return bool(agreed) and (current.get(BESIDE) or {}).get("baseline_sha256") == agreed


def right_of(row: Mapping[str, Any]) -> tuple[bool, ...] | None:
    """(N,), which test samples the network answered rightly; None where that was not kept."""
    return decode_correct(row.get("right"), row.get("n"))


def _figures(row: Mapping[str, Any], teacher: Mapping[str, Any] | None) -> dict[str, Any]:
    found = _known({name: row.get(name) for name in (*PLACE, *FIGURES)})
    latency, ratio = row.get("latency_ms") or {}, row.get("latency_vs_teacher")
    if ratio:
        found["latency_ratio"] = {key: ratio[key] for key in ("ratio", "ci95") if ratio.get(key) is not None}
        found["latency_ratio"]["valid"] = row.get("valid", True) is not False
        found["teacher"] = {name: teacher[name] for name in TEACHER if teacher and teacher.get(name) is not None}
    if latency.get("p50") is not None:
        found["latency_ms"] = latency["p50"]
    if row.get(BESIDE):
        found[BESIDE] = row[BESIDE]
    return found


def _of_baseline(document: Mapping[str, Any], path: Path) -> GateSubject:
    must_have_shape(document, BASELINE, SCHEMA_VERSION, path)
    facts, rows = document["facts"], {place: _known(row) for place, row in document["rows"].items()}
    try:
        for place, row in rows.items():
            key = under("rows", place)
            if place_of(row) != place:
                raise Malformed(key, f"its figures are of {place_of(row)}")
            answers_must_agree(row, facts.get("test samples"), key)
    except Malformed as found:
        raise Malformed(found.key, found.says, path) from None
    return GateSubject(str(document.get("name")), facts, rows)


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}
