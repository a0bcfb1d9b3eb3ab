"""Several labels through training, distillation, cuts and quantisation, as a data set's task says."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.data import DataSet, InMemory
from edgekd.distill import Distillation
from edgekd.distill.build import LossSpec, build_terms
from edgekd.errors import TrainingError
from edgekd.export import export_onnx, parity, runtime_logits
from edgekd.models import build
from edgekd.preprocess import Preprocess
from edgekd.spec import Spec
from edgekd.stages import Distill, Prune, Quantize, Stage
from edgekd.stages.deployment import Deployment, Precisions
from edgekd.stages.job import Job, Result
from edgekd.stages.work import WORK
from edgekd.tasks.multilabel import Multilabel
from edgekd.train import FitOptions, Train, fit, logits_of, metric_of
from edgekd.train.objective import TaskLoss

NAMES = ("a", "b", "c")
SPEC = Spec("mlp", (16,), 3, {"hidden": [32, 32]})
HERE = Deployment("cpu", "onnxruntime", 1, False, "onnxruntime-x86", None, "float32", 8)


@pytest.fixture(scope="module")
def data() -> DataSet:
    """Labels are signs of projections of the input, with noise; some are not known."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(900, 16)).astype(np.float32)
    labels = (inputs @ random.normal(size=(16, 3)) + 0.5 * random.normal(size=(900, 3)) > 0.8).astype(np.int64)
    labels[:300][random.random((300, 3)) < 0.1] = -1
    parts = [
        InMemory(torch.from_numpy(inputs[part]), torch.from_numpy(labels[part]))
        for part in (slice(0, 500), slice(500, 700), slice(700, 900))
    ]
    scale = Preprocess(kind="vector", shape=(16,), mean=(0.0,) * 16, std=(1.0,) * 16)
    return DataSet("signs", NAMES, scale, *parts, batch_size=50, kind=Multilabel)


@pytest.fixture(scope="module")
def teacher(data) -> nn.Module:
    torch.manual_seed(0)
    network = build("mlp", (16,), 3, hidden=[64])
    fit(network, data, Train(epochs=6, lr=0.1), TaskLoss(data.task), FitOptions(float32=True))
    return network.eval()


def run(stage: Stage, data: DataSet, teacher: nn.Module, folder: Path, needs: Any = None, at: Result | None = None):
    torch.manual_seed(1)
    network = at.network if at else build(SPEC.builder, (16,), 3, **SPEC.args)
    spec = at.spec if at else SPEC
    return WORK[stage.name].run(Job("stage", network, spec, stage, data, 0, teacher, folder, lambda _: None, needs))


def test_training_by_labels_of_which_some_are_not_known(data, teacher):
    assert metric_of(teacher, data, data.test) > 0.85
    torch.manual_seed(0)
    assert metric_of(build("mlp", (16,), 3, hidden=[64]).eval(), data, data.test) < 0.6


def test_a_chain_of_stages(data, teacher, tmp_path):
    teacher = copy.deepcopy(teacher)
    student = run(Distill(epochs=6, lr=0.1), data, teacher, tmp_path / "0")
    entry = student.metrics["history"][-1]
    assert {"validation_map", "teacher_validation_map", "agreement"} <= set(entry)
    assert set(entry["terms"]) == {"labels", "kd"}
    cut = Prune(macs=0.6, epochs=2, round_to=2, check_latency=False, importance="taylor")
    pruned = run(cut, data, teacher, tmp_path / "1", HERE, student)
    rungs = Quantize(rungs=("ptq",), calibration="auto", placement="int8", calibration_batches=2)
    int8 = run(rungs, data, teacher, tmp_path / "2", Precisions(None, "onnxruntime-x86", False), pruned)
    values = [metric_of(each.network, data, data.test) for each in (student, pruned, int8)]
    assert min(values) > metric_of(teacher, data, data.test) - 0.05
    assert int8.metrics["rungs"][-1]["validation_map"] == metric_of(int8.network, data, data.validation)


def test_the_file_predicts_what_the_network_does(data, teacher, tmp_path):
    export_onnx(teacher, tmp_path / "model.onnx", data.preprocess)
    ours, theirs = logits_of(teacher, data, data.test), runtime_logits(tmp_path / "model.onnx", data.inputs(data.test))
    assert parity(ours, theirs, data.task).agreement == 1
    assert parity(ours, -ours, data.task).agreement < 0.2


def test_losses_that_compare_classes_are_refused(data, teacher):
    student = build("mlp", (16,), 3, hidden=[64])
    with pytest.raises(TrainingError, match="dkd compares classes, and this network gives labels: use kd, or a loss"):
        build_terms([LossSpec("dkd")], student, teacher, (16,), task=data.task)
    [term] = build_terms([LossSpec("kd")], student, teacher, (16,), task=data.task, temperature=2.0)
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    outputs = [{"logits": each} for each in logits]
    expected = data.task.soft_loss(*outputs, {}, 2.0)["teacher"]
    assert float(term.loss(*logits)) == float(expected)
    Distillation(teacher, [term], task=data.task)
