"""Several teachers of one recipe: what students learn, what is reported, and what runs again."""

import numpy as np
import pytest
import torch
from torch import nn

import edgekd
from edgekd.data import load_data
from edgekd.distill import Ensemble
from edgekd.errors import EdgekdError
from edgekd.pipeline.plan import plan
from edgekd.pipeline.run import run
from edgekd.recipe import Quantize, load_recipe
from edgekd.spec import Spec
from edgekd.stages.deployment import Precisions
from edgekd.stages.job import Job
from edgekd.stages.quantize.work import quantize
from edgekd.train import logits_of, metric_of
from tests.toy import run_stages, write_recipe

RECIPE = """\
name: several
data: {source: digits, train_limit: 300, test_limit: 60, batch_size: 50}
teacher:
  model: small_cnn
  args: {width: 8}
  train: {epochs: 2, lr: 0.1}
  others:
    - {model: small_cnn, args: {width: 8}, train: {epochs: 2, lr: 0.1}}
    - {model: mlp, train: {epochs: 2, lr: 0.05}}
  weights: [2, 1, 1]
student: {model: small_cnn, args: {width: 4}}
stages:
  - distill: {epochs: 2}
targets: [{device: elsewhere, architecture: x86}]
"""
NAMES = ("teacher", "teacher-2", "teacher-3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def report(folder):
    return run(load_recipe(write_recipe(folder, RECIPE)), folder / "run")


def probabilities(folder, samples):
    """Of the three teachers by NumPy, weighted 2, 1, 1."""
    data = load_data(load_recipe(folder / "toy.yaml").data)
    stages = {path.name[3:-13]: path for path in (folder / "run" / "stages").iterdir()}
    logits = [logits_of(edgekd.load(stages[name]), data, getattr(data, samples)).double().numpy() for name in NAMES]
    shares = [np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in logits]
    return np.average(shares, axis=0, weights=[2, 1, 1]), getattr(data, samples).labels.numpy()


def test_the_ensembles_accuracy_is_told_beside_the_first_teachers(report, folder):
    mean, labels = probabilities(folder, "test")
    rows = {(row.model, row.runtime): row for row in report.rows}
    assert rows["ensemble", "pytorch"].accuracy == pytest.approx((mean.argmax(1) == labels).mean())
    assert rows["ensemble", "pytorch"].params > 2 * rows["teacher", "pytorch"].params
    assert [model for model, runtime in rows if runtime == "onnxruntime"] == ["teacher", "distilled"]


def test_the_student_learned_from_all_of_them(report, folder):
    mean, labels = probabilities(folder, "validation")
    stages = {stage.name: stage for stage in report.stages}
    assert list(stages) == [*NAMES, "distill"]
    reported = [entry["teacher_validation_accuracy"] for entry in stages["distill"].metrics["history"]]
    assert reported == pytest.approx([(mean.argmax(1) == labels).mean()] * 2)


def test_teachers_that_are_alike_are_not_one(report, folder):
    first, second = (next((folder / "run" / "stages").glob(f"00-{name}-????????????")) for name in NAMES[:2])
    one, other = (edgekd.load(each).state_dict() for each in (first, second))
    assert not any(torch.equal(one[name], other[name]) for name in one if name.endswith("weight"))


def runs(path, folder, *settings):
    return run_stages(load_recipe(path, settings), folder)


@pytest.mark.parametrize(
    ("setting", "again"),
    [
        ("teacher.weights=[1, 1, 1]", ["distill"]),
        ("teacher.weights=[2, 1, 1]", []),
        ("teacher.others.1.train.epochs=1", ["teacher-3", "distill"]),
    ],
)
def test_what_a_change_of_the_teachers_runs_again(report, folder, capsys, setting, again):
    runs(folder / "toy.yaml", folder / "run", setting)
    said = capsys.readouterr().err
    assert [name for name in (*NAMES, "distill") if f"  {name}: runs again" in said] == again


def test_the_cache_gives_the_same_bits_as_the_teachers(tmp_path, monkeypatch):
    """With a loss of features, which are the first one's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    text = RECIPE.replace("batch_size: 50", "batch_size: 50, augment: [crop]")
    path = write_recipe(tmp_path, text.replace("{epochs: 2}\ntar", "{views: 2, also: [{method: at}]}\ntar"))
    done = [
        runs(path, tmp_path / "run", f"distill.cache={str(cache).lower()}", "distill.epochs=3")[-1]
        for cache in (True, False)
    ]
    assert done[0].key != done[1].key
    assert done[0].content == done[1].content
    runs(path, tmp_path / "run", "distill.epochs=1", "teacher.weights=null", "teacher.combine=confidence")
    assert len(list((tmp_path / "home").rglob("logits.npy"))) == 2


NETS = """
from torch import nn

def seven():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
"""


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("{model: 'nets.py:seven', train: {epochs: 0}}", "nets.py:seven gives shape (4, 7); expected logits of shape"),
        ("{model: mlp, checkpoint: nothing.pt}", "nothing.pt; give the path of a .safetensors"),
        ("{model: mlp, train: {freeze: [nothing]}}", "nothing"),
    ],
)
def test_a_teacher_that_cannot_be_is_found_before_training(tmp_path, other, reason):
    (tmp_path / "nets.py").write_text(NETS)
    text = RECIPE.replace("{model: mlp, train: {epochs: 2, lr: 0.05}}", other)
    with pytest.raises(EdgekdError) as error:
        plan(load_recipe(write_recipe(tmp_path, text)))
    assert reason in str(error.value)


def test_the_budget_compares_with_the_first_teacher(few_digits, trained, tmp_path):
    torch.manual_seed(0)
    others = [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2)]
    spec = Spec("small_cnn", few_digits.input_shape, 10, {"width": 8})
    asked = Precisions(drop=50.0, profile="portable", computes_float16=False)
    section = Quantize(rungs=("ptq",), calibration="minmax", bias_correction=False, placement="int8")
    teacher = Ensemble([trained, *others], weights=[0, 1, 1])
    job = Job("01-quantize", trained, spec, section, few_digits, 0, teacher, tmp_path, lambda _: None, asked)
    expected = metric_of(trained, few_digits, few_digits.validation) - 0.5
    assert quantize(job).metrics["floor"] == pytest.approx(expected)
