"""An invented report in the shape of a real one; no figure here was measured."""

from typing import Any

from edgekd.stats.correct import encode_correct

LAYERS = ["conv1", *(f"layer{i}.{j}.conv{k}" for i in (1, 2, 3) for j in (0, 1) for k in (1, 2))]


def history(epochs: int, loss: float, start: float, end: float) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "loss": loss * 0.93**epoch + 0.05,
            "lr": 0.1 * (1 - epoch / epochs),
            "validation_accuracy": end - (end - start) * 0.85**epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def widths() -> list[dict[str, Any]]:
    before = [16 * 2 ** (i // 5) for i in range(len(LAYERS))]
    return [
        {"layer": layer, "before": width, "after": width - 2 * (i % 4) * (1 + i // 5)}
        for i, (layer, width) in enumerate(zip(LAYERS, before, strict=True))
    ]


def row(model: str, runtime: str, precision: str, accuracy: float, **more: Any) -> dict[str, Any]:
    known = {
        "model": model,
        "runtime": runtime,
        "device": "cpu",
        "precision": precision,
        "accuracy": accuracy,
        "accuracy_ci95": [accuracy - 0.012, min(1.0, accuracy + 0.009)],
        "n": 1500,
        "valid": True,
        "warnings": [],
    }
    return known | (right(accuracy) if runtime == "onnxruntime" else {}) | more


def timed(p50: float, teacher: float | None = None) -> dict[str, Any]:
    known: dict[str, Any] = {
        "energy_mj": 11.4 * p50,
        "latency_ms": {"p50": p50, "p90": p50 * 1.08, "p99": p50 * 1.4, "ci95_p50": [p50 * 0.97, p50 * 1.04], "n": 800},
    }
    if teacher:
        ratio = p50 / teacher
        known["latency_vs_teacher"] = {"ratio": ratio, "ci95": [ratio * 0.96, ratio * 1.05]}
    return known


def layers(precision: str, slower: float) -> list[dict[str, Any]]:
    times = [slower * (0.02 + 0.01 * (i % 4)) for i in range(len(LAYERS))]
    return [
        {
            "name": name, "op": "Conv", "precision": precision, "bound": "compute", "macs": 400_000 * (1 + i),
            "bytes": 20_000 * (1 + i % 3), "ms": ms, "limit_ms": ms / 3, "winnable_ms": 2 * ms / 3,
            "of_total": ms / sum(times), "share": 1 / 3,
        }
        for i, (name, ms) in enumerate(zip(LAYERS, times, strict=True))
    ]  # fmt: skip


def profile(model: str, precision: str, slower: float) -> dict[str, Any]:
    total = sum(layer["ms"] for layer in layers(precision, slower))
    return {
        "model": model,
        "runtime": "onnxruntime",
        "threads": 1,
        "batch": 1,
        "runs": 50,
        "roofs": {"peak": {"float32": 50.0, "int8": 100.0}, "bandwidth": [[1 << 15, 90.0], [1 << 28, 20.0]]},
        "summary": {"layers_ms": total, "unprofiled_ms": total, "limit_ms": total / 3, "share": 1 / 3},
        "layers": layers(precision, slower),
    }


def by_class() -> dict[str, Any]:
    rights = [("ok", 750, 746, 744), ("scratch", 400, 388, 379), ("dent", 250, 240, 242), ("crack", 100, 93, 93)]
    return {
        "before": "teacher",
        "after": "quantized",
        "runtime": "onnxruntime",
        "least_growth": 2,
        "classes": [
            {"name": name, "n": n, "right_before": before, "right_after": after} for name, n, before, after in rights
        ],
        "confusions": [
            {"label": "scratch", "answered": "ok", "before": 7, "after": 14},
            {"label": "ok", "answered": "dent", "before": 1, "after": 3},
        ],
    }


def right(accuracy: float) -> dict[str, Any]:
    wrong = 1500 - round(1500 * accuracy)
    return {"right": encode_correct([False] * wrong + [True] * (1500 - wrong)), "expected_calibration_error": 0.021,
            "negative_log_likelihood": 0.113, "reliability": reliability(accuracy)}  # fmt: skip


def reliability(accuracy: float) -> list[dict[str, Any]]:
    counts = [3, 9, 18, 40, 130, 1300]
    return [
        {"n": n, "confidence": 0.45 + 0.1 * place, "accuracy": min(1.0, (0.4 + 0.1 * place) * (0.6 + accuracy / 2))}
        for place, n in enumerate(counts)
    ]


def sample() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "name": "sample-parts-inspection",
        "recipe_sha256": "3f9a" * 16,
        "command": "edgekd run recipes/parts.yaml --out runs/parts --set distill.epochs=30",
        "environment": {
            "cpu": {"model": "Sample CPU", "architecture": "x86_64", "flags": ["avx512_vnni"], "logical_cores": 8},
            "threads": 1,
            "python": "3.11.7",
            "packages": {"torch": "2.11.0", "onnxruntime": "1.23.0"},
            "providers": ["CPUExecutionProvider"],
        },
        "data": {
            "name": "parts",
            "fingerprint": "91bc" * 16,
            "classes": ["ok", "scratch", "dent", "crack"],
            "train": 12000,
            "validation": 1500,
            "test": 1500,
        },
        "budget": {
            "met": False,
            "checks": [
                {"name": "accuracy_drop", "bound": 1.0, "value": 0.6, "unit": "points", "met": True},
                {"name": "latency_ratio", "bound": 0.2, "value": 0.0717, "unit": "× teacher", "met": True},
                {"name": "size_mb", "bound": 0.1, "value": 0.162, "unit": "MB", "met": False},
                {"name": "latency_ms", "bound": 0.5, "unit": "ms", "met": False},
            ],
        },
        "warnings": [{"code": "target_skipped", "message": "jetson was not reachable; nothing was measured there"}],
        "rows": [
            row("teacher", "pytorch", "float32", 0.978, size_bytes=44_780_000, params=11_180_000, macs=145_000_000),
            row("teacher", "onnxruntime", "float32", 0.978, size_bytes=44_650_000, params=11_180_000,
                macs=145_000_000, peak_rss_bytes=182_000_000, file="teacher.onnx", **timed(5.3)),
            row("distilled", "onnxruntime", "float32", 0.975, size_bytes=1_120_000, params=272_000,
                macs=10_200_000, peak_rss_bytes=71_000_000, file="distilled.onnx", **timed(0.81, 5.3)),
            row("pruned", "onnxruntime", "float32", 0.971, size_bytes=540_000, params=131_000, macs=5_050_000,
                peak_rss_bytes=68_000_000, file="pruned.onnx", **timed(0.52, 5.3)),
            row("quantized", "onnxruntime", "float32", 0.972, size_bytes=541_000, params=131_000, macs=5_050_000,
                file="quantized.onnx", **timed(0.53, 5.3)),
            row("quantized", "onnxruntime", "int8", 0.972, size_bytes=162_000, params=131_000, macs=5_050_000,
                peak_rss_bytes=64_000_000, file="quantized.int8.onnx", valid=False,
                warnings=[{"code": "cov_high", "message": "the timings vary by 14 %; close what else runs"}],
                **timed(0.38, 5.3)),
        ],
        "stages": [
            {"name": "teacher", "key": "a1" * 8, "seconds": 1860.0,
             "metrics": {"params": 11_180_000, "macs": 145_000_000, "history": history(20, 1.9, 0.6, 0.979)}},
            {"name": "distill", "key": "b2" * 8, "seconds": 912.4,
             "metrics": {"params": 272_000, "macs": 10_200_000, "history": history(30, 2.4, 0.5, 0.976)}},
            {"name": "prune", "key": "c3" * 8, "seconds": 301.0,
             "metrics": {"params": 131_000, "macs": 5_050_000, "history": history(10, 0.8, 0.8, 0.972),
                         "widths": widths()}},
            {"name": "quantize", "key": "d4" * 8, "seconds": 96.0,
             "metrics": {"params": 131_000, "scheme": "int8 per channel", "history": history(3, 0.3, 0.95, 0.972)}},
        ],
        "by_class": by_class(),
        "profiles": [profile("teacher", "float32", 10.0), profile("quantized", "int8", 1.0)],
        "parity": [
            {"model": "distilled", "runtime": "onnxruntime", "agreement": 1.0, "max_abs_difference": 3.1e-6, "n": 1500},
            {"model": "quantized", "runtime": "onnxruntime", "agreement": 0.998, "max_abs_difference": 0.21, "n": 1500},
        ],
    }  # fmt: skip
