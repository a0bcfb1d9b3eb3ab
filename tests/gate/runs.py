"""A report with its files, as a run leaves them: the figures are made up, the files are real."""

import json
from copy import deepcopy

import numpy as np

from edgekd.stats.correct import encode_correct

N = 2000
ENVIRONMENT = {"cpu": {"model": "a processor", "architecture": "x86_64", "flags": ["avx2", "fma"], "affinity": [0, 1]}}


def row(model, **changed):
    figures = {
        "model": model,
        "runtime": "onnxruntime",
        "precision": "int8",
        "device": "cpu",
        "threads": 1,
        "accuracy": 0.9,
        "n": N,
        "size_bytes": 100_000,
        "params": 50_000,
        "macs": 2_000_000,
        "operators": {"Conv": 8, "QuantizeLinear": 20},
        "int8_coverage": 1.0,
        "latency_ms": {"p50": 0.2, "n": 1000},
        "latency_vs_teacher": {"ratio": 0.25, "ci95": [0.2475, 0.2525]},
        "right": encode_correct([False] * (N // 10) + [True] * (N - N // 10)),
    }
    return {**figures, **changed}


def writer(root):
    """``write(name, lost=0, won=0, **row)`` writes a run and gives its folder."""
    labels = np.random.default_rng(0).integers(10, size=N).astype(np.int32)
    base = labels.copy()
    base[: N // 10] = (base[: N // 10] + 1) % 10

    def write(name, lost=0, won=0, report=None, **changed):
        folder = root / name
        folder.mkdir()
        answers = base.copy()
        answers[:won] = labels[:won]
        answers[N - lost :] = (labels[N - lost :] + 1) % 10
        right = answers == labels
        document = {
            "schema_version": 1,
            "name": "toy",
            "recipe_sha256": "0" * 64,
            "environment": deepcopy(ENVIRONMENT),
            "data": {"fingerprint": "f" * 64, "test": N},
            "rows": [
                row("teacher", latency_vs_teacher=None, latency_ms={"p50": 0.8, "n": 1000}),
                row("quantized", **{"accuracy": float(right.mean()), "right": encode_correct(right), **changed}),
            ],
            **(report or {}),
        }
        (folder / "report.json").write_text(json.dumps(document))
        return folder

    return write
