"""A bundle of a network that finds any number of labels: its thresholds decide, and are part of what was packed."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score

from edgekd.bundle.diff import Difference, diff
from edgekd.bundle.manifest import Manifest
from edgekd.bundle.pack import pack
from edgekd.bundle.predict import Predictor
from edgekd.bundle.score import score
from edgekd.bundle.verify import verify
from edgekd.errors import BundleError, DataError
from edgekd.tasks.classification import Classification
from edgekd.tasks.multilabel import Multilabel

from .conftest import LABELS, computing
from .models import golden_of, linear_model
from .test_verify import reseal

THRESHOLDS = (0.5, 0.6, 0.8)
BRIGHT = 1 / (1 + np.exp(-1.0))  # of the logit 1: a half that is white, 0.731
GREY = 1 / (1 + np.exp(-1 / 255))  # a half at level 128 of 255


@pytest.fixture
def labelled(parts: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    model = linear_model(tmp_path / "halves.onnx")
    changed = {"task": Multilabel(LABELS, THRESHOLDS), "models": {"float32": model}, "golden": golden_of(model)}
    return {**parts, **changed}


@pytest.fixture
def found(labelled: dict[str, Any], tmp_path: Path) -> Path:
    return pack(tmp_path / "labelled", **labelled)


@pytest.fixture
def white(tmp_path: Path) -> Path:
    """Both halves are bright."""
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "white.png")
    return tmp_path / "white.png"


def test_readers_that_know_classes_alone_refuse_it(found: Path, bundle: Path) -> None:
    document = json.loads((found / "manifest.json").read_text())
    assert document["schema_version"] == 2
    assert (document["task"], document["decoder"]) == ("multilabel", {"thresholds": [0.5, 0.6, 0.8]})
    manifest = verify(found)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    of_classes = json.loads((bundle / "manifest.json").read_text())
    assert of_classes["schema_version"] == 1
    assert set(document) - set(of_classes) == {"task", "decoder"}


def test_each_label_by_its_own_threshold(found: Path, white: Path) -> None:
    [prediction] = Predictor(found).predict([white], top=2)
    assert prediction["labels"] == ["left"], "0.731 is below the 0.8 of the right half"
    assert [each["label"] for each in prediction["top"]] == ["left", "right"]
    assert prediction["top"][0]["probability"] == pytest.approx(BRIGHT)
    assert list(prediction) == ["file", "labels", "top"]


def test_the_command(edgekd: Callable[..., Any], labelled: dict[str, Any], white: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "grey.png")
    files = [tmp_path / f"{name}.png" for name in ("white", "black", "grey")]
    folder = pack(tmp_path / "equal", **labelled | {"task": Multilabel(LABELS, (0.5, 0.6, 0.6))})
    done = edgekd("predict", folder, *files, "--top", 2)
    assert [line.partition(": ")[2] for line in done.out.splitlines()] == [
        "left, right (left 73.1 %, right 73.1 %)",
        "dark (dark 73.1 %, left 26.9 %)",
        "no label (left 50.1 %, right 50.1 %)",
    ]
    rows = list(csv.DictReader(io.StringIO(edgekd("predict", folder, *files, "--csv", "--top", 9).out)))
    assert list(rows[0]) == [
        *("file", "labels", "label", "probability", "label_2", "probability_2", "label_3", "probability_3")
    ]
    assert [row["labels"] for row in rows] == ["left|right", "dark", ""]
    assert float(rows[2]["probability"]) == pytest.approx(GREY, abs=1e-6)
    document = json.loads(edgekd("predict", folder, *files, "--json").out)
    assert [each["labels"] for each in document] == [["left", "right"], ["dark"], []]


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose halves are each of some brightness, and labels that follow it somewhat."""
    random = np.random.default_rng(0)
    halves = random.integers(0, 256, (200, 2))
    pictures = np.repeat(np.repeat(halves[:, None, None, :], 8, 2), 4, 3).astype(np.uint8)
    noisy = halves + random.normal(0, 60, halves.shape)
    return pictures, np.column_stack([noisy.mean(1) < 90, noisy > 150]).astype(np.int64)


def test_its_metrics_are_scikit_learns(found: Path, drawn: tuple[np.ndarray, np.ndarray]) -> None:
    pictures, labels = drawn
    predictor = Predictor(found)
    logits = predictor.run(predictor.preprocess.apply(pictures)).astype(float)
    got = score(found, pictures, labels, batch=64)
    assert (list(got.metrics), got.n) == (["map", "macro_f1"], 200)
    assert got.headline.value == pytest.approx(average_precision_score(labels, logits, average="macro"))
    predicted = 1 / (1 + np.exp(-logits)) >= THRESHOLDS
    assert got.metrics["macro_f1"].value == pytest.approx(f1_score(labels, predicted, average="macro"))
    for each in got.metrics.values():
        low, high = each.interval(0.9)
        assert 0 < low < each.value < high < 1
    unknown = np.where(np.arange(600).reshape(200, 3) % 5 == 0, -1, labels)
    assert 0 < score(found, pictures, unknown).headline.value != got.headline.value


@pytest.mark.parametrize(
    ("labels", "says"),
    [(np.zeros(4, int), "expected a 0 or 1 for each"), (np.full((4, 3), 2), "expected 0 or 1"),
     (np.zeros((4, 3), int), "no sample is known to have any label"), (np.full((4, 3), -1), "no label is known")],
)  # fmt: skip
def test_labels_that_do_not_fit_are_refused(found: Path, labels: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        score(found, np.zeros((4, 1, 8, 8), np.uint8), labels)


def move(document: dict[str, Any]) -> None:
    document["decoder"]["thresholds"][1] = 0.9


def test_thresholds_that_were_changed_are_refused(found: Path) -> None:
    whole = (found / "manifest.json").read_text()
    (found / "manifest.json").write_text(whole.replace("0.6", "0.9"))
    with pytest.raises(BundleError, match="does not match its seal"):
        verify(found)
    (found / "manifest.json").write_text(whole)
    reseal(found, move)
    verify(found)
    with pytest.raises(BundleError, match=r"config\.pbtxt contradicts the manifest"):
        Predictor(found).self_test()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(decoder={}), r"\[\] are not the options of multilabel"),
        (lambda d: d["decoder"].update(positive_weights=[1, 1, 1]), "are not the options of multilabel"),
        (lambda d: d["decoder"].update(temperature=1), "unexpected keyword argument 'temperature'"),
        (lambda d: d["decoder"].update(thresholds=[0.5, 0.5]), "expected 3 numbers above 0 and below 1"),
        (lambda d: d["decoder"].update(thresholds=[0.5, 0.5, 1]), "expected 3 numbers above 0 and below 1"),
        (lambda d: d["decoder"].update(thresholds=["a", "b", "c"]), "cannot be decoded"),
        (lambda d: d["decoder"].update(thresholds=7), "cannot be decoded"),
        (lambda d: d.update(task="multi-label"), "did you mean 'multilabel'"),
        (lambda d: d.update(task="classification"), "unexpected keyword argument 'thresholds'"),
    ],
)
def test_options_that_are_not_the_tasks_are_refused(
    found: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    reseal(found, change)
    verify(found)
    with pytest.raises(BundleError, match=says):
        Predictor(found)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("task"), "task missing or unknown"),
        (lambda d: d.update(task="a b"), "'a b' is not a plain name"),
        (lambda d: d.update(decoder=[]), "decoder is no dict"),
        (lambda d: d.update(schema_version=1), "decoder, task missing or unknown"),
        (lambda d: d.update(task="classification", decoder={}), "schema_version is 2, and its content is of another"),
    ],
)
def test_a_malformed_manifest_is_refused(found: Path, change: Callable[[dict[str, Any]], object], says: str) -> None:
    reseal(found, change)
    with pytest.raises(BundleError, match=says):
        verify(found)


def test_the_self_test_finds_a_runtime_that_computes_otherwise(found: Path) -> None:
    predictor = Predictor(found)
    good = predictor.self_test()
    assert good.passed and good.n == 4 and 0 < good.alike == good.judged
    for wrong in (lambda logits: logits[:, ::-1], lambda logits: logits * np.nan, lambda logits: logits + 1):
        assert not computing(found, wrong).self_test().passed


def test_a_sample_at_a_threshold_counts_against_no_machine(found: Path) -> None:
    predictor = Predictor(found)
    judged = predictor.self_test()
    # The packed outputs of one sample are moved on top of a threshold.
    outputs = np.load(io.BytesIO(predictor.contents["golden/output.npy"]))
    outputs[0, 1] = np.log(0.6 / 0.4)
    file = io.BytesIO()
    np.save(file, outputs)
    predictor.contents = {**predictor.contents, "golden/output.npy": file.getvalue()}
    assert predictor.self_test().judged == judged.judged - 1


def test_a_threshold_that_differs_is_named(found: Path) -> None:
    manifest = verify(found)
    other = dataclasses.replace(manifest, decoder={"thresholds": [0.5, 0.6, 0.7]})
    assert diff(manifest, other) == [Difference("decoder", "thresholds right", 0.8, 0.7)]
    twice = [dataclasses.replace(each, labels=("a", "a", "b")) for each in (manifest, other)]
    assert diff(*twice) == [Difference("decoder", "thresholds", [0.5, 0.6, 0.8], [0.5, 0.6, 0.7])]
    of_classes = dataclasses.replace(manifest, task="classification", decoder={})
    assert {each.part for each in diff(manifest, of_classes)} == {"schema_version", "task", "decoder"}


def test_clients_of_triton_find_the_thresholds_in_its_configuration(found: Path) -> None:
    """Its classification extension ranks classes of which one holds."""
    config = (found / "triton/halves/config.pbtxt").read_text()
    assert "label_filename" not in config and not (found / "triton/halves/labels.txt").exists()
    assert 'key: "edgekd.task"\n  value: { string_value: "multilabel" }' in config
    assert r'string_value: "{\"thresholds\":[0.5,0.6,0.8]}"' in config
    assert r'string_value: "[\"dark\",\"left\",\"right\"]"' in config


def test_card_and_show_say_how_it_decides(found: Path, edgekd: Callable[..., Any]) -> None:
    card = (found / "README.md").read_text()
    assert "A network with 3 labels, packed" in card
    assert "is at least its threshold: dark 0.5, left 0.6, right 0.8." in card
    shown = edgekd("bundle", "show", found).out.splitlines()
    assert "task  multilabel" in shown and "thresholds  dark 0.5, left 0.6, right 0.8" in shown


def test_outputs_that_are_no_numbers(labelled: dict[str, Any], tmp_path: Path, white: Path, draw: Any) -> None:
    """The square root of a negative logit: NaN is no label, and no number in JSON."""
    model = onnx.load(labelled["models"]["float32"])
    model.graph.node[-1].output[0] = "linear"
    model.graph.node.append(onnx.helper.make_node("Sqrt", ["linear"], ["logits"]))
    onnx.save(model, tmp_path / "root.onnx")
    images = np.full((1, 1, 8, 8), 0, np.float32)
    changed = {"models": {"float32": tmp_path / "root.onnx"}, "golden": (images, np.zeros((1, 3), np.float32))}
    of_labels = Predictor(pack(tmp_path / "root", **labelled | changed)).predict([white])
    assert [each["label"] for each in of_labels[0]["top"]] == ["left", "right"]
    json.dumps(of_labels, allow_nan=False)
    of_classes = Predictor(pack(tmp_path / "classes", **labelled | changed | {"task": Classification(LABELS)}))
    [found] = of_classes.stream([white], top=2)
    assert found.to_json() == {"file": str(white), "label": None, "probability": None, "top": []}
    assert found.prediction.to_text() == "no prediction, its outputs are not finite"
    assert list(found.prediction.to_cells().values()) == [""] * 4
