"""Runs of other tasks than classification: made-up predictions, real evidence in files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekd.tasks.compare import interval
from edgekd.tasks.evidence_file import write_evidence
from edgekd.tasks.metric import Evidence, Metric
from edgekd.tasks.multilabel import Multilabel
from tests.gate.runs import ENVIRONMENT
from tests.gate.runs import row as figures

N, NAMES = 600, tuple("abcdef")
# By the evidence and the metric: most runs have the same, and thousands of draws take a fifth of a second.
INTERVALS: dict[tuple[str, str], Any] = {}


@dataclass(frozen=True, eq=False)
class MeanError(Evidence):
    errors: np.ndarray

    def values(self, weights):
        return weights @ self.errors / weights.sum(1)


class Lengths:
    """A task whose metric is better the lower it is, and is no share."""

    name: ClassVar[str] = "lengths"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mae", "mean absolute error", "mm", "lower", "bootstrap", lambda found, _: found, lambda: MeanError),
    )
    outputs: ClassVar[str] = "values"
    kind_of_names: ClassVar[str] = "values"
    breakdown_key: ClassVar[str | None] = None


def truth() -> np.ndarray:
    return np.random.default_rng(0).random((N, len(NAMES))) < 0.25


def logits(noise: float = 0.0, seed: int = 1) -> np.ndarray:
    """Those of a network that is mostly right, (N, labels), and worse the more noise there is."""
    random = np.random.default_rng(7)
    exact = random.normal(size=(N, len(NAMES))) + 3.0 * truth() - 1.5
    return exact + noise * np.random.default_rng(seed).normal(size=exact.shape)


def of_labels(outputs: np.ndarray) -> dict[str, Evidence]:
    predictions = Multilabel(NAMES).decode({"logits": outputs})
    return {metric.name: metric.evidence(predictions, {"labels": truth()}) for metric in Multilabel.metrics}


def lengths(more: float = 0.0) -> dict[str, Evidence]:
    return {"mae": MeanError(np.random.default_rng(3).exponential(2.0, N) + more)}


def row(folder: Path, model: str, task: Any, kept: dict[str, Evidence], **changed: Any) -> dict[str, Any]:
    file = f"evidence/{model}.npz"
    digest = write_evidence(folder / file, kept)
    found = figures(model, n=N, evidence={"file": file, "sha256": digest})
    del found["accuracy"], found["right"]
    for metric in task.metrics:
        own = kept[metric.name]
        if (digest, metric.name) not in INTERVALS:
            INTERVALS[digest, metric.name] = interval(metric, own)
        found |= {metric.name: own.value(), f"{metric.name}_ci95": INTERVALS[digest, metric.name]}
    return {**found, **changed}


def written(folder: Path, task: Any, kept: dict[str, Evidence], **changed: Any) -> Path:
    """Write the run of a network with this evidence, whose teacher is always the same, and return its folder."""
    folder.mkdir()
    teacher = lengths() if task is Lengths else of_labels(logits())
    times = {"latency_vs_teacher": None, "latency_ms": {"p50": 0.8, "n": 1000}}
    document = {
        "schema_version": 1,
        "name": "scenes",
        "task": task.name,
        "recipe_sha256": "0" * 64,
        "environment": ENVIRONMENT,
        "data": {"fingerprint": "f" * 64, "test": N},
        "rows": [row(folder, "teacher", task, teacher, **times), row(folder, "quantized", task, kept, **changed)],
    }
    (folder / "report.json").write_text(json.dumps(document))
    return folder
