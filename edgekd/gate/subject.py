"""What a gate compares: the figures of a run's last network, small enough to be read and committed.

A baseline file and a report become the same thing here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.files import read_object, write_json
from edgekd.gate.answers import read_answers

KIND, SCHEMA_VERSION = "edgekd baseline", 1
# Of a report's row, as they are.
SEPARATOR = ": "  # of a device and what is known of it
PLACE = ("device", "runtime", "threads")
FIGURES = (
    "accuracy", "n", "right", "file_sha256", "size_bytes", "params", "macs", "precision", "operators", "int8_coverage"
)  # fmt: skip
# Of a report alone: a baseline is what later runs are timed beside.
BESIDE = "latency_vs_baseline"


@dataclass(frozen=True)
class Subject:
    """``facts`` must be the same in both for a comparison; ``rows`` are figures by where the network runs.

    Figures are as they were read, so that one that is no number is seen where it is judged.
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

    def save(self, path: Path) -> None:
        """Sorted, one figure a line, so that a change can be reviewed."""
        write_json(path, self.to_json())


def load_subject(path: Path) -> Subject:
    """From a baseline file, from a report.json, or from the folder of a run.

    Raises:
        EdgekdError: it cannot be read, or is neither.
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
    return subject_of(document)


def subject_of(report: Mapping[str, Any]) -> Subject:
    """Of a report.json: the last network, wherever it runs."""
    rows = rows_of_last(report)
    data, environment = report.get("data") or {}, report.get("environment") or {}
    cpu = environment.get("cpu") or {}
    facts = {
        "test set": data.get("fingerprint"),
        "test samples": data.get("test"),
        "processor": cpu.get("model"),
        "architecture": cpu.get("architecture"),
        "processor features": cpu.get("flags"),
        "power mode": environment.get("power_mode"),
        **_of_devices(environment.get("devices") or {}),
    }
    return Subject(
        name=str(report.get("name")),
        facts={key: value for key, value in facts.items() if value is not None},
        rows={place_of(row): _figures(row) for row in rows},
    )


def rows_of_last(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in report["rows"] if row.get("model") == report["rows"][-1].get("model")]


def device_of(fact: str) -> str | None:
    """The device of the book that a fact is about; None for this machine and the data."""
    device, separator, _ = fact.partition(SEPARATOR)
    return device if separator else None


def _of_devices(devices: Mapping[str, Any]) -> dict[str, Any]:
    """What makes figures of one device incomparable with those of a report before."""
    return {
        f"{name}{SEPARATOR}{what}": found
        for name, facts in devices.items()
        for what, found in (
            ("board", (facts.get("facts") or {}).get("board")),
            ("processor", (facts.get("facts") or {}).get("cpu")),
            ("power mode", facts.get("power_mode")),
            ("TensorRT", facts.get("tensorrt")),
            ("ONNX Runtime", ((facts.get("facts") or {}).get("python") or {}).get("onnxruntime")),
        )
    }


def place_of(row: Mapping[str, Any]) -> str:
    """``cpu, onnxruntime, 1 thread``: what rows of two reports are matched by."""
    threads = row.get("threads")
    counted = [f"{threads} thread{'s' if threads != 1 else ''}"] if threads else []
    return ", ".join([str(row.get("device") or "cpu"), str(row.get("runtime")), *counted])


def right_of(row: Mapping[str, Any]) -> tuple[bool, ...] | None:
    """(N,), which test samples the network answered rightly; None where that was not kept."""
    return read_answers(row.get("right"), row.get("n"))


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: row[name] for name in (*PLACE, *FIGURES) if row.get(name) is not None}
    latency, ratio = row.get("latency_ms") or {}, row.get("latency_vs_teacher")
    if ratio:
        found["latency_ratio"] = {key: ratio[key] for key in ("ratio", "ci95") if ratio.get(key) is not None}
        found["latency_ratio"]["valid"] = row.get("valid", True)
    if latency.get("p50") is not None:
        found["latency_ms"] = latency["p50"]
    if row.get(BESIDE):
        found[BESIDE] = row[BESIDE]
    return found


def _of_baseline(document: Mapping[str, Any], path: Path) -> Subject:
    if document.get("schema_version") != SCHEMA_VERSION:
        raise EdgekdError(
            f"{path} is a baseline of version {document.get('schema_version')}, this edgekd reads {SCHEMA_VERSION}: "
            "promote it again"
        )
    facts, rows = document.get("facts"), document.get("rows")
    if not isinstance(facts, dict) or not isinstance(rows, dict) or not all(isinstance(r, dict) for r in rows.values()):
        raise EdgekdError(f"{path}: facts and rows are missing or no tables: promote it again")
    return Subject(str(document.get("name")), facts, rows)
