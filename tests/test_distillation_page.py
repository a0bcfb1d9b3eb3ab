"""Every snippet of the page on distillation is a recipe's, or runs as it stands; its table is of all losses."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import yaml

from edgekd.distill import LOSSES
from edgekd.models import build
from edgekd.recipe import Distill, Recipe
from edgekd.stages.objective import distillation, terms_of
from edgekd.train import Batch
from edgekd.train.transfer import Transfer

PAGE = (Path(__file__).parents[1] / "docs/distillation.md").read_text()
SHAPE = (3, 32, 32)
# The other is of boxes.
OF_CLASSES = [method for method in LOSSES if method != "ld"]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def snippets(kind):
    found = [yaml.safe_load(block) for block in blocks("yaml")]
    return [each for each in found if isinstance(each, kind)]


def recipe(tmp_path, **changed):
    for name in ("resnet18.safetensors", "a.pt", "b.pt"):
        (tmp_path / name).touch()
    minimal = {
        "name": "page",
        "data": {"source": "cifar10"},
        "teacher": {"model": "resnet20", "train": {"epochs": 1}},
        "student": {"model": "resnet8"},
        "stages": ["distill"],
        "targets": [{"device": "cpu", "runtime": "onnxruntime"}],
        "budget": {"accuracy_drop": 1.0},
    }
    return Recipe.model_validate({**minimal, **changed}, context={"folder": tmp_path})


@pytest.mark.parametrize(
    "stages",
    [*snippets(list), *([{"distill": {"method": method, "hard_weight": 0.5}}] for method in OF_CLASSES)],
    ids=str,
)
def test_a_stage_is_one_and_learns(stages, tmp_path):
    torch.manual_seed(0)
    student, teacher = build("resnet8", SHAPE, 10), build("resnet20", SHAPE, 10)
    images, labels = torch.randn(8, *SHAPE), torch.arange(8)
    for section in recipe(tmp_path, stages=stages).stages:
        assert isinstance(section, Distill)
        terms = terms_of(section, student, teacher.eval(), SHAPE, samples=64)
        loss = distillation(section, teacher, terms)(student, Batch(images, labels, torch.arange(8)))
        loss.backward()
        assert loss.isfinite()
        assert all(parameter.grad is not None for parameter in student.parameters())


@pytest.mark.parametrize("section", [each for each in snippets(dict) if "train" in each["teacher"]], ids=str)
def test_a_teacher_is_one_and_can_be_transferred(section, tmp_path):
    teacher = recipe(tmp_path, **section).teacher
    network = build(teacher.model, SHAPE, 10)
    transfer = Transfer(network, teacher.train)
    transfer.enter(0)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert "fc.weight" in trained
    assert (len(trained) == 2) == (teacher.train.train_only == ("fc",) or teacher.train.unfreeze_every is not None)


def test_several_teachers_are_teachers(tmp_path):
    [section] = [each for each in snippets(dict) if "others" in each["teacher"]]
    teacher = recipe(tmp_path, **section).teacher
    assert [each.model for each in teacher.others] == ["torchvision/resnet18"]
    assert len(teacher.weights) == 2


def test_python_runs_in_order():
    torch.manual_seed(0)
    names = {"student": build("resnet8", SHAPE, 10), "teacher": build("resnet20", SHAPE, 10)}
    for block in blocks("python"):
        exec(block, names)
    assert names["loss"].isfinite()


def test_every_method_is_in_the_table_with_its_defaults():
    rows = re.findall(r"^\| \[`(\w+)`\]\(\S+\) \| .* \| ([\d.]+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert {method for method, _, _ in rows} == set(LOSSES)
    for method, weight, options in rows:
        assert float(weight) == getattr(LOSSES[method], "weight", 1.0)
        parameters = inspect.signature(LOSSES[method]).parameters
        for name, default in re.findall(r"`(\w+)`(?: ([\d.]+))?", options):
            assert name in parameters
            assert not default or float(default) == parameters[name].default
