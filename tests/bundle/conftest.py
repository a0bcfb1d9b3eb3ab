import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.bundle.pack import pack
from edgekd.bundle.predict import Predictor
from edgekd.preprocess import Preprocess
from edgekd.tasks.classification import Classification
from tests.cli.conftest import edgekd as edgekd

from .models import golden_of, linear_model

LABELS = ("dark", "left", "right")
PREPROCESS = Preprocess("image", (1, 8, 8), (0.5,), (0.5,))
MEASUREMENTS = [
    {"model": "teacher", "runtime": "onnxruntime", "precision": "float32", "accuracy": 0.98, "size_bytes": 44_000_000,
     "latency_ms": {"p50": 4.0, "n": 400}, "valid": True, "warnings": []},
    {"model": "quantized", "runtime": "onnxruntime", "precision": "int8", "accuracy": 0.97,
     "accuracy_ci95": [0.96, 0.98], "size_bytes": 1_100_000, "valid": True, "warnings": [],
     "latency_vs_teacher": {"ratio": 0.25, "ci95": [0.2, 0.5]}},
]  # fmt: skip


def computing(bundle: Path, change: Callable[[np.ndarray], np.ndarray], output: str = "logits") -> Predictor:
    """A stand-in for a runtime that computes one output of the bundle otherwise."""
    predictor = Predictor(bundle)
    outputs = predictor.outputs

    def changed(*args: Any, **options: Any) -> dict[str, np.ndarray]:
        found = outputs(*args, **options)
        return {**found, output: change(found[output])}

    predictor.outputs = changed  # type: ignore[method-assign]
    return predictor


def picture_of(side: str, path: Path) -> Path:
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:, {"dark": slice(0), "left": slice(0, 4), "right": slice(4, 8)}[side]] = 255
    Image.fromarray(pixels).save(path)
    return path


def parts_in(folder: Path) -> dict[str, Any]:
    models = {"float32": linear_model(folder / "a.onnx"), "int8": linear_model(folder / "b.onnx", scale=0.99)}
    return {
        "name": "halves",
        "models": models,
        "task": Classification(LABELS),
        "preprocess": PREPROCESS,
        "golden": golden_of(models["int8"]),
        "measurements": MEASUREMENTS,
        "lineage": {"recipe_sha256": "ab" * 32, "tools": {"edgekd": "0.1.0"}},
    }


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Any]:
    """Return the arguments of pack() for a bundle that is right."""
    return parts_in(tmp_path)


@pytest.fixture(scope="session")
def packed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    return pack(folder / "bundle", **parts_in(folder))


@pytest.fixture
def bundle(packed_once: Path, tmp_path: Path) -> Path:
    """Return a bundle that is right, of the test's own."""
    return Path(shutil.copytree(packed_once, tmp_path / "bundle"))


@pytest.fixture
def draw(tmp_path: Path) -> Callable[[str], Path]:
    return lambda side: picture_of(side, tmp_path / f"{side}.png")
