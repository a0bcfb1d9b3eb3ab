"""The prune stage: its targets, its steps, and that a stage which was stopped ends in the same bytes."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.artifact import capture
from edgekd.data import DataSet
from edgekd.errors import ModelError
from edgekd.models import build, count_macs
from edgekd.models.batchnorm import reestimate
from edgekd.prune import widths
from edgekd.recipe import Prune, load_recipe
from edgekd.spec import Spec
from edgekd.stages.checkpoints import StageCheckpoints
from edgekd.stages.deployment import Deployment, deployment
from edgekd.stages.job import Job, Result
from edgekd.stages.network import restore
from edgekd.stages.prune import work as prune_work
from edgekd.stages.prune.cutter import Cutter
from edgekd.stages.prune.work import prune
from edgekd.tasks.classification import Classification
from edgekd.tasks.regression import Regression
from edgekd.train import metric_of
from tests.prune.random_networks import SHAPE, composed
from tests.toy import RECIPE, write_recipe

IN_STEPS = {"macs": 0.4, "steps": 2, "depth": 0.95, "importance": "random"}
HERE = Deployment(
    **{"device": "cpu", "runtime": "onnxruntime", "threads": 1, "timed": True, "file": "onnxruntime-x86"},
    **{"trained": None, "precision": "float32", "channels": 8},
)
INT8 = replace(HERE, trained="onnxruntime-x86", precision="int8")


@pytest.fixture(scope="module")
def start(digits) -> tuple[nn.Module, Spec]:
    torch.manual_seed(0)
    spec = Spec("resnet8", digits.input_shape, 10, {"width": 16})
    network = build(spec.builder, spec.input_shape, 10, **spec.args)
    with torch.no_grad():
        network(torch.randn(64, *spec.input_shape))
    return network.eval(), spec


@pytest.fixture(scope="module")
def cut_in(digits, start) -> Callable[..., Result]:
    network, spec = start

    def run(folder: Path, needs: Deployment = HERE, data: DataSet = digits, **section: Any) -> Result:
        quick = {"epochs": 1, "check_latency": False, "teacher": False, "round_to": 2}
        job = Job(
            name="01-prune",
            network=copy.deepcopy(network),
            spec=spec,
            stage=Prune(**{**quick, **section}),
            data=data,
            seed=0,
            teacher=None,
            folder=folder,
            log=lambda _: None,
            needs=needs,
        )
        return prune(job)

    return run


@pytest.fixture
def cut(cut_in, tmp_path) -> Callable[..., Result]:
    def run(folder: Path = tmp_path, **section: Any) -> Result:
        return cut_in(folder, **section)

    return run


@pytest.fixture(scope="module")
def cut_whole(cut_in, few_digits, tmp_path_factory) -> Result:
    """One that nothing stopped."""
    return cut_in(tmp_path_factory.mktemp("whole"), data=few_digits, **IN_STEPS)


def kept(result: Result, start: tuple[nn.Module, Spec]) -> float:
    network, spec = start
    return count_macs(result.network, spec.input_shape) / count_macs(network, spec.input_shape)


def test_one_cut(cut, start):
    result = cut(macs=0.5)
    assert 0.35 < kept(result, start) <= 0.5
    assert result.metrics["kept"]["macs"] == kept(result, start) == result.metrics["cuts"][0]["kept"]
    assert len(result.spec.transforms) == len(result.metrics["history"]) == 1
    assert {each["layer"]: each["after"] for each in result.metrics["widths"]} == widths(result.network)
    assert {each["layer"]: each["before"] for each in result.metrics["widths"]} == widths(start[0])
    saved = capture(result.network, result.spec)
    assert capture(restore(saved), result.spec).sha256 == saved.sha256


@pytest.mark.parametrize(("schedule", "first"), [("linear", 0.7), ("cubic", 0.475)])
def test_several_cuts(cut, start, few_digits, schedule, first):
    result = cut(data=few_digits, macs=0.4, steps=2, cut_schedule=schedule, step_epochs=2)
    shares = [each["kept"] for each in result.metrics["cuts"]]
    assert first - 0.12 < shares[0] <= first
    assert shares[1] == kept(result, start) <= 0.4
    assert [entry["epoch"] for entry in result.metrics["history"]] == [1, 2, 3]
    assert len(result.spec.transforms) == 2


def test_unpruned_layers_are_in_the_figures(digits, tmp_path):
    network = composed(["buffer_mean"], "pooled")
    job = Job(
        **{"name": "01-prune", "network": network, "spec": Spec("own", SHAPE, 4), "data": digits, "seed": 0},
        **{"stage": Prune(macs=0.8, round_to=1, check_latency=False), "teacher": None, "folder": tmp_path},
        **{"log": lambda _: None, "needs": HERE},
    )
    [left] = json.loads(json.dumps(Cutter(job, network).to("macs", 0.8, network).figures.to_json()))["left_whole"]
    assert left["layers"] == ["blocks.0.conv"]
    assert left["operation"] == "sub in 'blocks.0'"
    assert left["reason"].startswith("sub in 'blocks.0' needs this width (")


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    "at", [1, pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(4, marks=pytest.mark.slow), 5]
)
def test_stopped_and_started_again_it_ends_in_the_same_bytes(cut, cut_whole, few_digits, tmp_path, monkeypatch, at):
    keep, left = StageCheckpoints.keep, [at]

    def until(journal: StageCheckpoints, name: str, make: Callable[[], Result]) -> Result:
        if not left[0]:
            raise Stopped
        left[0] -= 1
        return keep(journal, name, make)

    with monkeypatch.context() as patch:
        patch.setattr(StageCheckpoints, "keep", until)
        with pytest.raises(Stopped):
            cut(tmp_path / "again", data=few_digits, **IN_STEPS)
    again = cut(tmp_path / "again", data=few_digits, **IN_STEPS)
    assert again.spec == cut_whole.spec
    assert capture(again.network, again.spec).sha256 == capture(cut_whole.network, cut_whole.spec).sha256
    assert again.metrics == cut_whole.metrics


def test_blocks_go_first(cut, start):
    result = cut(macs=0.5, depth=0.8, epochs=0, step_epochs=0)
    [blocks, channels] = result.metrics["cuts"]
    assert blocks["dropped"]
    assert blocks["kept"] <= 0.8
    assert channels["kept"] == kept(result, start) <= 0.5
    gone = [each["layer"] for each in result.metrics["widths"] if each["after"] == 0]
    assert gone
    assert all(layer.startswith(tuple(blocks["dropped"])) for layer in gone)


def test_what_would_be_left_without_blocks_is_known(cut, start):
    """ResNet-8 can spare the first of its three blocks, two convolutions of 16 channels at 8x8."""
    network, spec = start
    block = 2 * (16 * 16 * 9 * 8 * 8)
    assert cut(macs=0.5).metrics["least_depth"] == 1 - block / count_macs(network, spec.input_shape)


def test_blocks_alone(cut, start):
    result = cut(depth=0.8)
    assert "least_depth" not in result.metrics  # since it was asked for
    assert kept(result, start) <= 0.8
    assert len(result.metrics["history"]) == 1
    assert set(widths(result.network).items()) < set(widths(start[0]).items())


def test_blocks_are_ranked_once_for_all_cuts(cut_in, tmp_path, monkeypatch):
    """Cut as candidates of a search do, which differ in how far. Another setting of the statistics ranks anew."""
    estimated = []

    def reestimated(network: nn.Module, batches: object) -> None:
        estimated.append(network)
        reestimate(network, batches)

    monkeypatch.setattr(prune_work, "reestimate", reestimated)
    counts = []
    for number, (depth, batches) in enumerate([(0.85, 3), (0.8, 3), (0.8, 2)]):
        cut_in(tmp_path / str(number), depth=depth, batchnorm_batches=batches, epochs=0)
        counts.append(len(estimated))
        estimated.clear()
    # The network itself, the one without its block, and what is made.
    assert counts == [3, 1, 3]


def test_blocks_are_ranked_anew_if_the_network_computes_otherwise(cut_in, tmp_path, monkeypatch):
    """Change the code of a network while its weights stay."""
    measured = []
    divergence = Classification.divergence
    monkeypatch.setattr(
        Classification, "divergence", lambda self, *outputs: measured.append(1) or divergence(self, *outputs)
    )
    cut_in(tmp_path / "first", depth=0.8, batchnorm_batches=1, epochs=0)
    first = len(measured)
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: 2 * nn.functional.linear(x, self.weight, self.bias))
    cut_in(tmp_path / "second", depth=0.8, batchnorm_batches=1, epochs=0)
    assert len(measured) == 2 * first > 0


def test_as_small_as_the_accuracy_allows(cut, digits, start):
    """A network that has learned nothing loses nothing: every cut is tried, down to the narrowest."""
    first = cut(accuracy_drop=100.0, steps=3, epochs=0)
    assert [each["met"] for each in first.metrics["cuts"]] == [True, True, True]
    assert kept(first, start) == first.metrics["cuts"][-1]["kept"] <= 0.7**3


def test_the_last_cut_that_keeps_the_accuracy_is_taken(cut, digits, start):
    result = cut(accuracy_drop=0.0, steps=3, epochs=2, lr=0.1)
    cuts = result.metrics["cuts"]
    floor = metric_of(start[0], digits, digits.validation)
    assert result.metrics["floor"] == floor
    best = [each for each in cuts if each["met"]][-1]
    assert best["validation_accuracy"] >= floor
    assert kept(result, start) == best["kept"]
    assert metric_of(result.network, digits, digits.validation) == best["validation_accuracy"]


def test_no_cut_keeps_the_accuracy(cut, start, monkeypatch):
    accuracies = iter([0.9, 0.1, 0.2])
    monkeypatch.setattr("edgekd.stages.prune.work.metric_of", lambda *_: next(accuracies))
    message = r"within 1 points of 90.00%: \d+% of the MACs, the most, gave 20.00%; raise accuracy_drop, epochs or st"
    with pytest.raises(ModelError, match=message):
        cut(accuracy_drop=1.0, steps=2, epochs=0)


def test_sparse_learning_weakens_the_weakest_channels(cut, start, tmp_path):
    settings = {"macs": 0.99, "max_ratio": 0.1, "epochs": 0, "sparse_epochs": 3, "lr": 0.05, "weight_decay": 0.0}
    shares = []
    for strength in (1e-9, 1e-2):
        result = cut(tmp_path / str(strength), sparse=strength, **settings)
        assert len(result.metrics["history"]) == 3
        layers = [module for module in result.network.modules() if isinstance(module, nn.Conv2d)]
        norms = torch.cat([layer.weight.detach().flatten(1).norm(dim=1) for layer in layers])
        shares.append(float(norms.sort().values[: len(norms) // 2].sum() / norms.sum()))
    assert shares[1] < shares[0]


@pytest.mark.parametrize(("task", "usual", "broken"), [(Classification, 0.5, -100.0), (Regression, 45.0, 4500.0)])
def test_measured_sensitivity_ranks(task, usual, broken, cut, start, digits, monkeypatch, tmp_path):
    """Where every cut of one group costs all accuracy, or makes a large error, that group is left alone."""
    spared = "layer1.conv1"

    def fragile(network: nn.Module, *rest: Any) -> float:
        return usual if widths(network)[spared] == widths(start[0])[spared] else broken

    monkeypatch.setattr("edgekd.stages.prune.work.metric_of", fragile)
    settings = {"macs": 0.6, "epochs": 0, "needs": replace(HERE, timed=False), "data": replace(digits, kind=task)}
    plain = cut(tmp_path / "plain", **settings)
    ranked = cut(tmp_path / "ranked", sensitivity=60, **settings)
    assert widths(plain.network)[spared] < widths(start[0])[spared] == widths(ranked.network)[spared]
    scanned = {each["layer"]: each for each in ranked.metrics["sensitivity"]}
    lost = scanned[spared]["uncut"] - scanned[spared]["cuts"][0]["score"]
    assert lost == abs(usual - broken) and (ranked.metrics.get("sensitivity_of") == "mae") == (task is Regression)


def test_the_learning_rate_is_rewound(cut):
    """The last two epochs of a cosine over eight: from (1 + cos(6π/8)) / 2 of the highest on."""
    result = cut(macs=0.6, epochs=2, rewind=8, lr=0.1, schedule="cosine")
    first, last = (entry["lr"] for entry in result.metrics["history"])
    assert 0.1 * (1 + math.cos(math.pi * 7 / 8)) / 2 < first < 0.1 * (1 + math.cos(math.pi * 6 / 8)) / 2
    assert 0 < last < first


@pytest.mark.slow
@pytest.mark.parametrize("needs", [HERE, INT8], ids=["float32", "int8"])
def test_to_a_measured_latency(digits, needs, tmp_path):
    """Of a network that is wide enough for its time to be in its channels."""
    torch.manual_seed(0)
    spec = Spec("resnet8", digits.input_shape, 10, {"width": 128})
    start = build(spec.builder, spec.input_shape, 10, **spec.args).eval(), spec
    section = Prune(latency=0.6, epochs=0, teacher=False)
    result = prune(Job("01-prune", *start, section, digits, 0, None, tmp_path, lambda _: None, needs))
    [found] = result.metrics["cuts"]
    assert found["timing"] == next(each for each in found["tried"] if each == found["timing"])
    assert found["timing"]["measured"] == found["kept"] <= 0.6
    assert found["timing"]["predicted"] > 0
    assert kept(result, start) < 1


@pytest.mark.slow
def test_the_cut_network_is_timed(cut):
    [found] = cut(macs=0.5, epochs=0, check_latency=True).metrics["cuts"]
    assert found["timing"]["measured"] > 0
    assert found["round_to"] >= 2
    assert found["refused"] == [] or found["round_to"] > 2


def test_how_it_is_deployed(tmp_path):
    def found(text: str = RECIPE) -> tuple[Deployment, tuple[str, ...]]:
        deployed = deployment(load_recipe(write_recipe(tmp_path, text)))
        return replace(deployed, files=()), deployed.files

    assert found() == (INT8, ("onnxruntime-x86",))
    text = RECIPE.replace("  - quantize: {epochs: 1, rungs: [qat], placement: int8}\n", "")
    elsewhere, files = found(text + "targets: [{device: orin, runtime: tensorrt}]\n")
    assert elsewhere == replace(HERE, device="orin", runtime="tensorrt", timed=False, file="tensorrt", channels=32)
    assert files == ("tensorrt",)
    assert found(text)[0] == HERE


@pytest.mark.parametrize(
    ("given", "steps", "epochs"),
    [
        ({}, 8, 38),  # at least 300 steps on a small set
        ({}, 351, 5),
        ({"epochs": 2}, 8, 2),
        ({"epochs": 0}, 8, 0),
        ({"rewind": 20}, 8, 20),
    ],
)
def test_a_recovery_whose_length_is_left_out_has_steps_enough(given, steps, epochs):
    stage = Prune(macs=0.5, **given)
    assert stage.trained_for(steps, 0.1).epochs == epochs
    # Where the recipe says the length, and where there are many samples, the stage's key is the one that it was.
    assert (stage.trained_for(steps, 0.1).settings() == stage.settings()) is (epochs == stage.epochs)
