"""Metrics from the bundle alone."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from edgekd.bundle.predict import Predictor
from edgekd.bundle.score import score
from edgekd.errors import DataError
from edgekd.stats.proportion import wilson_interval

ROOT = Path(__file__).parents[2]
# What onnxruntime imports or its wheel asks for, apart from NumPy.
NEEDED = ("onnxruntime", "numpy", "flatbuffers", "packaging", "protobuf")
ABSENT = ("torch", "torchvision", "onnx", "pydantic", "typer", "rich", "PIL", "yaml", "scipy", "sklearn", "safetensors")
SCORE = """
import json, sys
from pathlib import Path
import numpy as np
from edgekd.bundle.score import score
with np.load(sys.argv[2], allow_pickle=False) as file:
    found = score(Path(sys.argv[1]), file["images"], file["labels"])
metrics = {name: [each.value, *each.interval()] for name, each in found.metrics.items()}
print(json.dumps({**metrics, "n": found.n, "modules": sorted(sys.modules)}))
"""


@pytest.fixture
def samples_file(toy_samples: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> Path:
    images, labels = toy_samples
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    return tmp_path / "test.npz"


def reported(run: Path) -> float:
    rows = json.loads((run / "report.json").read_text())["rows"]
    return next(row["accuracy"] for row in rows if (row["model"], row["runtime"]) == ("quantized", "onnxruntime"))


def test_it_is_the_reports(toy_run: Path, toy_samples: tuple[np.ndarray, np.ndarray]) -> None:
    for batch in (1, 7, 100):
        assert score(toy_run / "bundle", *toy_samples, batch=batch).headline.value == reported(toy_run)


def test_it_counts(bundle: Path) -> None:
    images = np.zeros((3, 1, 8, 8), np.uint8)
    images[0, :, :, :4] = images[1, :, :, 4:] = 255
    found = score(bundle, images, np.array([1, 2, 1]))  # left, right, and dark that is called left
    assert (list(found.metrics), found.n, found.headline.value) == (["accuracy"], 3, 2 / 3)
    assert found.headline.interval() == wilson_interval(2, 3)


def test_samples_whose_class_is_not_known_are_left_out(bundle: Path) -> None:
    found = score(bundle, np.zeros((3, 1, 8, 8), np.uint8), np.array([0, 1, -1]))
    assert (found.n, found.headline.value) == (2, 0.5)


def test_a_sample_whose_logits_are_no_numbers_is_wrong(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the report counts it: of infinite logits the largest says nothing."""
    samples = np.zeros((3, *Predictor(bundle).preprocess.shape), np.uint8)
    logits = np.array([[1.0, 0.0], [np.inf, 0.0], [np.nan, 0.0]], np.float32)
    monkeypatch.setattr(Predictor, "decoded", lambda self, inputs, batch: {"logits": logits[: len(inputs)]})
    assert score(bundle, samples, np.zeros(3, int), batch=3).headline.evidence.correct.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.array([0, 1]), "expected numbers for each of 3 samples"),
        (np.array(["a", "b", "c"]), "expected numbers for each of 3 samples"),
        (np.array([0.0, 1.0, 2.0]), "float64"),
        (np.eye(3, dtype=int), "one integer for each"),
        (np.array([0, 1, 3]), "classes 0 to 2"),
        (np.full(3, -1), "no label is known"),
    ],
)
def test_labels_that_do_not_fit_are_refused(bundle: Path, labels: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        score(bundle, np.zeros((3, 1, 8, 8), np.uint8), labels)


def test_the_reading_half_needs_numpy_and_onnxruntime_alone(toy_run: Path, samples_file: Path) -> None:
    block = f"import sys\nfor name in {ABSENT}: sys.modules[name] = None\n"
    imports = "import edgekd.bundle.manifest, edgekd.bundle.verify, edgekd.bundle.diff, edgekd.bundle.inputs\n"
    done = subprocess.run(
        [sys.executable, "-c", block + imports + SCORE, toy_run / "bundle", samples_file],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    accuracy, low, high = json.loads(done.stdout)["accuracy"]
    assert low < accuracy == reported(toy_run) < high


@pytest.mark.slow
def test_in_an_environment_of_its_own(toy_run: Path, samples_file: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *NEEDED], check=True)
    done = subprocess.run(
        [python, "-c", SCORE, toy_run / "bundle", samples_file],
        check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["accuracy"][0], found["n"]) == (reported(toy_run), 100)
    assert not set(ABSENT) & set(found["modules"])
