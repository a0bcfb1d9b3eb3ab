"""What a gate compares: the figures of a run's last network, small enough to be read and committed.

A baseline file and a report become the same thing here; the answers on the test samples are kept as one bit each.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import EdgekdError
from edgekd.files import write_json

KIND, SCHEMA_VERSION = "edgekd baseline", 1
# Of a report's row, as they are.
PLACE = ("device", "runtime", "threads")
FIGURES = ("accuracy", "n", "size_bytes", "params", "macs", "precision", "operators", "int8_coverage")
RIGHT = "right"


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
        return {**about, "facts": self.facts, "rows": self.rows}

    def save(self, path: Path) -> None:
        """Sorted, one figure a line, so that a change can be reviewed."""
        write_json(path, self.to_json())


def load_subject(path: Path) -> Subject:
    """From a baseline file, from a report.json, or from the folder of a run.

    Raises:
        EdgekdError: it cannot be read, or is neither.
    """
    file = path / "report.json" if path.is_dir() else path
    document = _read(file)
    if document.get("kind") == KIND:
        return _of_baseline(document, file)
    if "rows" not in document or "recipe_sha256" not in document:
        raise EdgekdError(
            f"{file} is neither a report nor a baseline: give a run's report.json, or a file that 'edgekd baseline "
            "promote' wrote"
        )
    return subject_of(document, file.parent)


def subject_of(report: Mapping[str, Any], folder: Path) -> Subject:
    """Of a report.json whose files lie in ``folder``: the last network, wherever it runs."""
    rows = [row for row in report["rows"] if row.get("model") == report["rows"][-1].get("model")]
    data, environment = report.get("data") or {}, report.get("environment") or {}
    cpu = environment.get("cpu") or {}
    facts = {
        "test set": data.get("fingerprint"),
        "test samples": data.get("test"),
        "processor": cpu.get("model"),
        "architecture": cpu.get("architecture"),
        "processor features": cpu.get("flags"),
        "power mode": environment.get("power_mode"),
    }
    labels = _array(folder, data.get("labels"))
    return Subject(
        name=str(report.get("name")),
        facts={key: value for key, value in facts.items() if value is not None},
        rows={place_of(row): _figures(row, labels, folder) for row in rows},
    )


def place_of(row: Mapping[str, Any]) -> str:
    """``cpu, onnxruntime, 1 thread``: what rows of two reports are matched by."""
    threads = row.get("threads")
    counted = [f"{threads} thread{'s' if threads != 1 else ''}"] if threads else []
    return ", ".join([str(row.get("device") or "cpu"), str(row.get("runtime")), *counted])


def right_of(row: Mapping[str, Any]) -> NDArray[np.bool_] | None:
    """(N,), which test samples the network answered rightly; None where that was not kept."""
    try:
        bits = np.frombuffer(base64.b64decode(row[RIGHT], validate=True), np.uint8)
        return np.unpackbits(bits, count=int(row["n"])).astype(bool)
    except (KeyError, TypeError, ValueError):
        return None


def _figures(row: Mapping[str, Any], labels: NDArray[Any] | None, folder: Path) -> dict[str, Any]:
    found = {name: row[name] for name in (*PLACE, *FIGURES) if row.get(name) is not None}
    latency, ratio = row.get("latency_ms") or {}, row.get("latency_vs_teacher")
    if ratio:
        found["latency_ratio"] = {key: ratio[key] for key in ("ratio", "ci95") if ratio.get(key) is not None}
        found["latency_ratio"]["valid"] = row.get("valid", True)
    if latency.get("p50") is not None:
        found["latency_ms"] = latency["p50"]
    answers = _array(folder, row.get("predictions"))
    if answers is not None and labels is not None and answers.shape == labels.shape:
        found[RIGHT] = base64.b64encode(np.packbits(answers == labels).tobytes()).decode()
    return found


def _array(folder: Path, name: str | None) -> NDArray[Any] | None:
    if name is None:
        return None
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise EdgekdError(f"{name!r} leads out of {folder}: take the report again from where it was made")
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EdgekdError(f"cannot read {path}: {error}; run the recipe again, which writes it anew") from error


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


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgekdError(f"cannot read {path}: {error.strerror}; give a report.json or a baseline") from error
    except ValueError as error:
        raise EdgekdError(f"{path} is no JSON: {error}; take it again from where it was made") from error
    if not isinstance(document, dict):
        raise EdgekdError(f"{path} holds no JSON object: give a report.json or a baseline")
    return document
