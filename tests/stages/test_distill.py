"""The distill stage with every kind of loss, on digits."""

import json

import numpy as np
import pytest
from torch import nn

import edgekd
from edgekd.data import load_data
from edgekd.models import build
from edgekd.pipeline.run import run
from edgekd.recipe import Prune, load_recipe
from edgekd.spec import Spec
from edgekd.stages.deployment import Deployment
from edgekd.stages.job import Job
from edgekd.stages.prune.work import prune
from edgekd.train import logits_of
from edgekd.train.history import history_to_json
from tests.toy import run_stages, write_recipe

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
targets: [{device: elsewhere, architecture: x86}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def report(folder):
    return run(load_recipe(write_recipe(folder, RECIPE)), folder / "run")


def test_the_history_has_each_term(report):
    stage = next(stage for stage in report.stages if stage.name == "distill")
    for entry in stage.metrics["history"]:
        assert set(entry["terms"]) == {"labels", "kd", "at", "crd"}
        assert sum(entry["terms"].values()) == pytest.approx(entry["loss"], rel=1e-4)


def test_the_history_tells_of_the_teacher(report, folder):
    data = load_data(load_recipe(folder / "toy.yaml").data)
    stages = {path.name[3:-13]: path for path in (folder / "run" / "stages").iterdir()}
    teacher, student = (
        logits_of(edgekd.load(stages[name]), data, data.validation).argmax(1) for name in ("teacher", "distill")
    )
    history = next(stage for stage in report.stages if stage.name == "distill").metrics["history"]
    assert history[-1]["agreement"] == pytest.approx(float((teacher == student).double().mean()))
    right = float((teacher == data.validation.labels).double().mean())
    assert [entry["teacher_validation_accuracy"] for entry in history] == pytest.approx([right, right])
    steps = 2 * (len(data.train) // 50)
    assert [entry["temperature"] for entry in history] == pytest.approx(
        [6 - 4 * (steps / 2 - 1) / steps, 2 + 4 / steps]
    )
    told = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    logged = [entry for entry in told if entry["event"] == "epoch" and entry["stage"] == "distill"]
    assert [entry.items() >= {**known}.items() for entry, known in zip(logged, history, strict=True)] == [True, True]
    assert "agreement" not in next(entry for entry in told if entry.get("stage") == "teacher")


def test_the_teacher_answers_the_validation_samples_once(few_digits, tmp_path):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.calls = build("small_cnn", (1, 8, 8), 10, width=4), 0

        def forward(self, inputs):
            self.calls += 1
            return self.network(inputs)

    teacher, student = Counting(), build("small_cnn", (1, 8, 8), 10, width=4)
    spec = Spec("small_cnn", (1, 8, 8), 10, {"width": 4})
    steps = {"params": 0.8, "round_to": 1, "steps": 2, "batchnorm_batches": 0, "check_latency": False}
    section = Prune(**steps, epochs=1, hard_weight=0.5)
    needs = Deployment("cpu", "onnxruntime", 1, False, "onnxruntime-x86", None, "float32", channels=1)
    logged = []
    made = prune(Job("02-prune", student, spec, section, few_digits, 0, teacher, tmp_path, logged.append, needs))
    assert history_to_json(logged) == made.metrics["history"]
    trained, batches = 2 * (len(few_digits.train) // few_digits.batch_size), len(few_digits.validation)
    assert [set(entry) >= {"agreement", "temperature"} for entry in made.metrics["history"]] == [True, True]
    assert teacher.calls - trained == -(-batches // few_digits.batch_size)


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
def test_the_teachers_cache_gives_the_same_bits_as_the_teacher(tmp_path, monkeypatch, capsys, also):
    """On the same fixed views, with augmentation; where nothing can be written, the teacher runs."""
    weights = []
    for name, cache, home in (
        *(("kept", "true", tmp_path / "home"), ("run", "false", tmp_path / "home")),
        ("refused", "true", "/dev/null/home"),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        stage = f"distill: {{{also}views: 2, cache: {cache}, epochs: 3}}"
        text = RECIPE[: RECIPE.index("stages:")].replace("batch_size: 50", "batch_size: 50, augment: [crop, flip]")
        (tmp_path / name).mkdir()
        path = write_recipe(
            tmp_path / name, f"{text}stages:\n  - {stage}\ntargets: [{{device: elsewhere, architecture: x86}}]\n"
        )
        distilled = run_stages(load_recipe(path), tmp_path / name / "run")[-1]
        weights.append((distilled.folder / "weights.safetensors").read_bytes())
        said = "/dev/null/home/edgekd/teachers cannot be written: the teacher runs in every epoch"
        assert (said in capsys.readouterr().err) == (name == "refused")
    assert weights[0] == weights[1] == weights[2]
    assert list((tmp_path / "home").rglob("logits.npy"))
