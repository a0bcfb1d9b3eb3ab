"""The distill stage with every kind of loss, on digits."""

import numpy as np
import pytest

from edgekd.chain.run import run
from edgekd.data import load_data
from edgekd.recipe import load_recipe
from tests.toy import brief_measurements, write_recipe

RECIPE = """\
name: several
data: {source: digits, train_limit: 300, test_limit: 60, batch_size: 50}
teacher: {model: small_cnn, args: {width: 8}, train: {epochs: 2, lr: 0.1}}
student: {model: small_cnn, args: {width: 4}}
stages:
  - distill:
      method: kd
      standardize: true
      temperature_schedule: {start: 6, end: 2}
      hard_weight_schedule: {form: cosine, start: 0.5, end: 0.1}
      also:
        - {method: at, weight: 100}
        - {method: crd, weight: 0.8, weight_schedule: {start: 0, end: 0.8, until: 0.2}, options: {negatives: 64}}
      epochs: 2
targets: [{device: elsewhere}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def report(folder):
    with pytest.MonkeyPatch.context() as patch:
        brief_measurements(patch)
        yield run(load_recipe(write_recipe(folder, RECIPE)), folder / "run")


def test_the_history_has_each_term(report):
    stage = next(stage for stage in report.stages if stage.name == "distill")
    for entry in stage.metrics["history"]:
        assert set(entry["terms"]) == {"labels", "kd", "at", "crd"}
        assert sum(entry["terms"].values()) == pytest.approx(entry["loss"], rel=1e-4)


def test_the_student_has_no_adapters(report):
    rows = {row.model: row for row in report.rows if row.runtime == "pytorch"}
    assert rows["distilled"].params < rows["teacher"].params


def test_calibration_is_in_the_report(report):
    row = next(row for row in report.rows if (row.model, row.runtime) == ("distilled", "onnxruntime"))
    assert 0 <= row.expected_calibration_error <= 1
    assert row.negative_log_likelihood > 0


def test_classes_that_lost_are_named(report, folder):
    labels = load_data(load_recipe(folder / "toy.yaml").data).test.labels.numpy()
    rows = {row.model: row for row in report.rows if row.runtime == "onnxruntime"}
    teacher, student = (np.load(folder / "run" / rows[name].predictions) == labels for name in ("teacher", "distilled"))
    drops = {label: 100 * (teacher[labels == label].mean() - student[labels == label].mean()) for label in range(10)}
    expected = {str(label) for label, drop in drops.items() if drop > 3}
    notes = [note.message for note in report.warnings if note.code == "class_lost"]
    assert {note.split("class '")[1].split("'")[0] for note in notes} == expected
    assert all("on 6 test samples" in note for note in notes)


@pytest.mark.parametrize("also", ["", "also: [{method: at}], "])
def test_the_teachers_cache_gives_the_same_bits_as_the_teacher(tmp_path, monkeypatch, also):
    """On the same fixed views, with augmentation."""
    brief_measurements(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    weights = []
    for cache in ("true", "false"):
        stage = f"distill: {{{also}views: 2, cache: {cache}, epochs: 3}}"
        text = RECIPE[: RECIPE.index("stages:")].replace("batch_size: 50", "batch_size: 50, augment: [crop, flip]")
        (tmp_path / cache).mkdir()
        path = write_recipe(tmp_path / cache, f"{text}stages:\n  - {stage}\ntargets: [{{device: elsewhere}}]\n")
        run(load_recipe(path), tmp_path / cache / "run")
        [folder] = (tmp_path / cache / "run" / "stages").glob("01-distill-*")
        weights.append((folder / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert list((tmp_path / "home").rglob("logits.npy"))
