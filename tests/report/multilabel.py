"""An invented report of a multi-label network, with real evidence in files."""

from pathlib import Path
from typing import Any

import numpy as np

from edgekd.tasks.breakdown import NamedPredictions
from edgekd.tasks.compare import interval
from edgekd.tasks.evidence_file import write_evidence
from edgekd.tasks.multilabel import Multilabel
from tests.tasks.multilabel.drawn import drawn

TASK = Multilabel(("person", "bicycle", "car", "bus", "dog", "cat"))
NETWORKS = {"teacher": 0.0, "distilled": 0.8, "quantized": 1.2}


def logits(noise: float) -> np.ndarray:
    exact, _ = drawn(share=0.2)
    return exact + noise * np.random.default_rng(4).normal(size=exact.shape)


def row(folder: Path, model: str) -> dict[str, Any]:
    _, targets = drawn(share=0.2)
    predictions = TASK.decode({"logits": logits(NETWORKS[model])})
    kept = {metric.name: metric.evidence(predictions, {"labels": targets}) for metric in TASK.metrics}
    found: dict[str, Any] = {}
    for metric in TASK.metrics:
        own = kept[metric.name]
        found |= {metric.name: own.value(), f"{metric.name}_ci95": list(interval(metric, own))}
    digest = write_evidence(folder / f"{model}.npz", kept)
    ratio = 1 - NETWORKS[model] / 2
    return {
        **{"model": model, "runtime": "onnxruntime", "device": "cpu", "precision": "float32", "n": 300, **found},
        "evidence": {"file": f"{model}.npz", "sha256": digest},
        "latency_ms": {"p50": 2 * ratio, "n": 100},
        "size_bytes": 1000,
    }


def sample(folder: Path) -> dict[str, Any]:
    """The report of three networks, of which ``folder`` gets the evidence."""
    _, targets = drawn(share=0.2)
    before, after = (
        NamedPredictions(network, TASK.decode({"logits": logits(NETWORKS[network])}))
        for network in ("teacher", "quantized")
    )
    history = [{"epoch": epoch, "loss": 0.1, "lr": 0.1, "validation_map": 0.5 + 0.1 * epoch} for epoch in (1, 2)]
    return {
        "schema_version": 1,
        "name": "scenes",
        "task": "multilabel",
        "recipe_sha256": "0" * 64,
        "data": {"name": "scenes", "fingerprint": "f" * 64, "classes": list(TASK.names),
                 "train": 100, "validation": 10, "test": 300},
        "rows": [row(folder, model) for model in NETWORKS],
        "budget": {"met": True, "checks": [
            {"name": "map_drop", "bound": 50.0, "value": 20.0, "unit": "points", "met": True}
        ]},
        "stages": [{"name": "distill", "key": "0" * 16, "metrics": {"history": history}}],
        "by_label": TASK.breakdown(before, after, {"labels": targets}, "onnxruntime").to_json(),
    }  # fmt: skip
