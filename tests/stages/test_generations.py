"""Students that are taught by themselves, on digits."""

import copy

import pytest
import torch
from torch import nn

from edgekd.artifact import tensors_of
from edgekd.distill import KD, Distillation
from edgekd.models import build
from edgekd.pipeline.plan import plan
from edgekd.recipe import Distill, load_recipe
from edgekd.spec import Spec
from edgekd.stages.distill.work import distill
from edgekd.stages.job import Job
from edgekd.train import FitOptions, fit, metric_of
from edgekd.train.history import history_to_json
from tests.toy import run_stages, write_recipe

SPEC = Spec("small_cnn", (1, 8, 8), 10, {"width": 4})


@pytest.fixture
def born(few_digits, trained, tmp_path):
    """Runs the stage from fixed random weights; ``logged`` takes what it says of each epoch."""

    def run(folder="work", logged=None, teacher=trained, **section):
        torch.manual_seed(0)
        network = build("small_cnn", SPEC.input_shape, 10, width=4)
        settings = Distill(**{"epochs": 2, "lr": 0.1, **section})
        log = [].append if logged is None else logged
        own = copy.deepcopy(teacher)
        return distill(Job("01-distill", network, SPEC, settings, few_digits, 0, own, tmp_path / folder, log))

    return run


def same(first: nn.Module, second: nn.Module) -> bool:
    one, other = tensors_of(first), tensors_of(second)
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_second_generation_is_the_students_own_training_with_the_first_as_teacher(born, few_digits):
    first, second = born("one"), born("two", generations=2)
    torch.manual_seed(0)
    again = build("small_cnn", SPEC.input_shape, 10, width=4)
    history = fit(
        again, few_digits, Distill(epochs=2, lr=0.1), Distillation(first.network, KD(4.0)), FitOptions(seed=1)
    )
    assert same(second.network, again)
    entries = second.metrics["history"]
    losses = [*(entry["loss"] for entry in first.metrics["history"]), *(epoch.loss for epoch in history)]
    assert [entry["loss"] for entry in entries] == losses
    taught = metric_of(first.network, few_digits, few_digits.validation)
    assert [entry["teacher_validation_accuracy"] for entry in entries[2:]] == [taught, taught]


def test_the_epochs_go_on_over_the_generations(born):
    logged = []
    history = born(generations=3, epochs=1, logged=logged.append).metrics["history"]
    assert [(entry["epoch"], entry["generation"]) for entry in history] == [(1, 1), (2, 2), (3, 3)]
    assert history_to_json(logged) == history


def test_killed_in_its_second_generation_it_ends_in_the_same_bits(born, tmp_path):
    """With adapters, which start from random weights."""
    section = {"generations": 2, "also": [{"method": "fitnet"}]}
    whole = born("whole", **section)

    def killed(epoch):
        if epoch.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        born("killed", logged=killed, **section)
    assert (tmp_path / "killed" / "generations").is_dir()
    epochs = []
    resumed = born("killed", logged=epochs.append, **section)
    assert [epoch.generation for epoch in epochs] == [2] * len(epochs)
    assert same(resumed.network, whole.network)
    assert resumed.metrics == whole.metrics


def test_pairs_are_then_of_the_students_own_layers(born):
    """The student has no layer of the teacher's name."""
    teacher = build("resnet8", SPEC.input_shape, 10, width=4).eval()
    also = [{"method": "fitnet", "pairs": [["4", "layer2"]]}]
    history = born(generations=2, epochs=1, also=also, teacher=teacher).metrics["history"]
    assert [set(entry["terms"]) for entry in history] == [{"labels", "kd", "fitnet"}] * 2


RECIPE = """\
name: selves
data: {source: digits, train_limit: 300, test_limit: 60, batch_size: 50, augment: [crop]}
teacher: {model: small_cnn, args: {width: 4}, train: {epochs: 1, lr: 0.1}}
student: {model: small_cnn, args: {width: 4}}
stages:
  - distill: {epochs: 1, views: 2, generations: 2}
targets: [{device: elsewhere, architecture: x86}]
"""


@pytest.mark.parametrize("student", ["student: {model: small_cnn, args: {width: 4}}\n", ""])
def test_a_network_teaches_itself_also_from_the_cache(tmp_path, monkeypatch, student):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    text = RECIPE if student else RECIPE.replace("student: {model: small_cnn, args: {width: 4}}\n", "")
    recipe = load_recipe(write_recipe(tmp_path, text))
    planned = plan(recipe)
    assert planned.teachers == (planned.student,)
    teacher, student_done = run_stages(recipe, tmp_path / "run")
    assert teacher.content != student_done.content
    # One of the teacher's answers and one of the first generation's.
    assert len(list((tmp_path / "home").rglob("logits.npy"))) == 2
    assert not list((tmp_path / "run" / "stages").glob(".work*"))
