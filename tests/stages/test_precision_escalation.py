"""Precision escalation: each step is tried where the one before misses, and the metrics say why."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.data import load_data
from edgekd.data.options import Data
from edgekd.errors import ModelError
from edgekd.models import build
from edgekd.quantize.fake_quant import FakeQuantize, fake_quants, weighted_layers
from edgekd.quantize.sensitivity import float_layers
from edgekd.recipe import Budget, Quantize, Target
from edgekd.spec import Spec
from edgekd.stages.deployment import Precisions
from edgekd.stages.job import Job, Result
from edgekd.stages.quantize.escalation import why_floor
from edgekd.stages.quantize.steps import describe
from edgekd.stages.quantize.work import quantize
from edgekd.stages.targets import training_profile
from edgekd.stages.work import WORK
from edgekd.tasks.regression import Regression
from edgekd.train import metric_of

ROOT = Path(__file__).parents[2]
CPU = {"profile": "onnxruntime-x86", "computes_float16": False}
GPU = {"profile": "tensorrt", "computes_float16": True}
QUICK = {"epochs": 1, "calibration": "minmax", "calibration_batches": 2, "bias_correction": False}


@pytest.fixture
def escalate(digits, trained, tmp_path):
    """Quantises the trained network of the tests; it is its own teacher."""

    def run(drop: float | None, asked: dict[str, Any] = CPU, network: nn.Module = trained, **section: Any) -> Result:
        torch.manual_seed(0)
        job = Job(
            name="01-quantize",
            network=copy.deepcopy(network).eval(),
            spec=Spec("small_cnn", digits.input_shape, 10, {"width": 8}),
            stage=Quantize(**{**QUICK, **section}),
            data=digits,
            seed=0,
            teacher=copy.deepcopy(trained).eval(),
            folder=tmp_path,
            log=lambda _: None,
            needs=Precisions(drop, **asked),
        )
        return quantize(job)

    return run


def steps(result: Result) -> list[tuple[str, Any]]:
    return [(each["rung"], each.get("met", "skipped")) for each in result.metrics["rungs"]]


def test_a_loose_budget_stops_at_calibration(escalate):
    result = escalate(50.0)
    assert steps(result) == [("half", "skipped"), ("ptq", True)]
    assert (result.metrics["stopped"], result.metrics["history"]) == ("ptq", [])
    assert result.metrics["rungs"][1]["calibration"] == "minmax"
    assert result.spec.change_by("quantize") == {"profile": "onnxruntime-x86", "placement": "measured"}


def test_the_reason_to_skip_half_precision(escalate):
    [half, *_] = escalate(50.0).metrics["rungs"]
    assert half == {
        "rung": "half",
        "skipped": "not every target computes in float16: its file would be smaller, not faster",
    }


def test_the_floor_is_the_teachers_accuracy_less_the_budget(escalate, digits, trained):
    teacher = metric_of(trained, digits, digits.validation)
    metrics = escalate(2.0).metrics
    assert metrics["floor"] == pytest.approx(teacher - 0.02)
    assert metrics["why_floor"] == f"the teacher's {teacher:.2%}, less the budget's 2 points"


def test_the_floor_of_an_error_lies_above_the_teacher_s():
    mae, _, r2 = Regression.metrics
    assert why_floor(mae, "the teacher's", 45.23, "the budget's 3") == "the teacher's 45.23, plus the budget's 3"
    assert why_floor(r2, "the float network's", 0.5, "0.02") == "the float network's 0.5000, less 0.02"


@pytest.fixture
def escalate_values(tmp_path):
    """Quantises a network of values that has learned nothing; it is its own teacher."""
    data = load_data(Data(source=f"{ROOT / 'recipes/diabetes.py'}:patients"), 0, Regression)
    torch.manual_seed(0)
    network = build("mlp", data.input_shape, 1, hidden=[16]).eval()

    def run(mae: float | None, **further: float) -> Result:
        job = Job(
            name="01-quantize",
            network=copy.deepcopy(network),
            spec=Spec("mlp", data.input_shape, 1, {"hidden": [16]}),
            stage=Quantize(**{**QUICK, "rungs": ("ptq",)}),
            data=data,
            seed=0,
            teacher=network,
            folder=tmp_path,
            log=lambda _: None,
            needs=Precisions(mae, **CPU, further=further),
        )
        return quantize(job)

    return run


def test_every_metric_that_the_budget_bounds_is_to_be_kept(escalate_values):
    [mae] = escalate_values(1000.0).metrics["rungs"]
    assert mae["met"] and "further" not in mae
    metrics = escalate_values(1000.0, r2=1e-7).metrics
    [both] = metrics["rungs"]
    assert not both["met"] and metrics["stopped"] == "ptq"
    [floor] = metrics["further_floors"].items()
    assert floor[0] == "r2" and both["further"][0]["validation_r2"] < floor[1]["floor"] < 1
    told, title = dict(describe(metrics)), "coefficient of determination"
    assert told["Needed"].endswith(", plus the budget's 1000") and f"Needed of {title}" in told
    assert f", {title} " in told["Post-training"] and told["Post-training"].endswith("not enough")
    # Where the first metric is not bounded, what its own network has is to be kept too.
    metrics = escalate_values(None, r2=1000.0).metrics
    assert metrics["why_floor"].startswith("the float network's") and metrics["rungs"][0]["met"]
    assert metrics["further_floors"]["r2"]["why"].endswith("less the budget's 1000")


def test_no_training_in_8_bits_where_the_float_network_misses_already(escalate):
    """A drop below none: no network of this training is that good."""
    result = escalate(-50.0, rungs=("ptq", "qat"))
    assert steps(result) == [("ptq", False), ("qat", "skipped")]
    assert (result.metrics["stopped"], result.metrics["history"]) == ("ptq", [])
    expected = "the float network misses what is needed by 50.00 points already: 8 bits give no better one"
    assert result.metrics["rungs"][1]["skipped"] == expected


def test_whoever_asks_for_training_alone_gets_it(escalate):
    result = escalate(-50.0, rungs=("qat",))
    assert steps(result) == [("ptq", False), ("qat", False)]
    assert len(result.metrics["history"]) == 1


def test_mixed_precision_is_no_help_where_float_misses_too(escalate):
    result = escalate(-50.0, rungs=("ptq", "mixed"))
    *_, mixed = result.metrics["rungs"]
    assert mixed == {"rung": "mixed", "skipped": "the float network misses the accuracy too"}
    assert result.metrics["float_layers"] == []


def ruin(graph: nn.Module, layer: str) -> None:
    """An input range so wide that three codes are used."""
    [found] = [each for each in weighted_layers(graph) if each.layer == layer]
    low, high = torch.tensor([-200.0]), torch.tensor([200.0])
    module = found.weight_fake_quant
    channels = len(module.scale)
    module.set_range(low.expand(channels), high.expand(channels))


@pytest.fixture
def one_layer_ruined(monkeypatch):
    """Calibration leaves one layer with a scale that rounds its weights to zero."""
    from edgekd.stages.quantize import work as stage

    calibrate = stage.calibrate

    def ruining(graph: nn.Module, batches: Any, method: str) -> None:
        calibrate(graph, batches, method)
        layer = weighted_layers(graph)[2].layer
        ruin(graph, layer)

    monkeypatch.setattr(stage, "calibrate", ruining)


def test_training_where_calibration_alone_misses(escalate, one_layer_ruined):
    result = escalate(3.0, rungs=("ptq", "qat"))
    assert [name for name, _ in steps(result)] == ["ptq", "qat"]
    assert result.metrics["stopped"] == "qat"
    assert len(result.metrics["history"]) == 1
    assert "kept" in result.metrics["rungs"][1]


def test_mixed_precision_keeps_the_most_sensitive_layer_in_float(escalate, one_layer_ruined):
    result = escalate(3.0, rungs=("ptq", "mixed"))
    first, *_, last = result.metrics["rungs"]
    assert (first["rung"], first["met"]) == ("ptq", False)
    ruined = weighted_layers(result.network)[2].layer
    assert (last["rung"], last["met"], last["float_layers"]) == ("mixed", True, [ruined])
    assert result.metrics["stopped"] == "mixed"
    assert result.metrics["float_layers"] == float_layers(result.network) == [ruined]


def test_half_precision_where_every_target_computes_in_it(escalate):
    result = escalate(1.0, GPU)
    assert steps(result) == [("half", True)]
    assert result.metrics["stopped"] == "half"
    assert result.spec.change_by("quantize") == {"precision": "float16"}
    assert not any(isinstance(module, FakeQuantize) for module in result.network.modules())


def test_half_precision_that_is_not_enough_is_followed(escalate):
    result = escalate(-50.0, GPU, rungs=("half", "ptq"))
    assert steps(result) == [("half", False), ("ptq", False)]
    assert result.spec.change_by("quantize")["profile"] == "tensorrt"
    assert not any(module.zero_point.any() for module in fake_quants(result.network).values())


@pytest.fixture
def loud(trained):
    """The trained network with activations of a million times the size, which float16 cannot hold."""
    network = copy.deepcopy(trained)
    with torch.no_grad():
        network[0].weight.mul_(1e6)
        network[1].running_mean.mul_(1e6)
        network[1].running_var.mul_(1e12)
    return network


def test_numbers_that_half_precision_cannot_hold_are_not_enough(escalate, loud):
    result = escalate(50.0, GPU, network=loud, rungs=("half", "ptq"))
    half, ptq = json.loads(json.dumps(result.metrics["rungs"], allow_nan=False))
    assert half == {"rung": "half", "met": False, "validation_accuracy": None}
    assert (ptq["rung"], ptq["met"]) == ("ptq", True)
    assert describe(result.metrics)[1] == ("Half precision", "no number, not enough")


def test_a_network_without_finite_outputs_is_refused(escalate, trained):
    broken = copy.deepcopy(trained)
    with torch.no_grad():
        broken[-1].weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="^the network to quantise gives no finite numbers for some validation"):
        escalate(1.0, network=broken)


def test_half_alone_is_half(escalate):
    assert escalate(1.0, rungs=("half",)).spec.change_by("quantize") == {"precision": "float16"}


def test_calibration_is_chosen_by_accuracy(escalate):
    result = escalate(50.0, calibration="auto")
    assert result.metrics["rungs"][1]["calibration"] in ("minmax", "percentile", "mse", "entropy")


CPU_TARGET, GPU_TARGET = Target(device="cpu", runtime="onnxruntime"), Target(device="jetson", runtime="tensorrt")
OTHER_CPU_TARGET = Target(device="cpu", runtime="openvino")


@pytest.mark.parametrize(
    ("targets", "profile"),
    [
        ((), "onnxruntime-x86"),
        ((CPU_TARGET,), "onnxruntime-x86"),
        ((GPU_TARGET,), "tensorrt"),
        ((CPU_TARGET, GPU_TARGET), "portable"),
        ((OTHER_CPU_TARGET,), "openvino-x86"),
        ((CPU_TARGET, OTHER_CPU_TARGET), "onnxruntime-x86"),
        ((OTHER_CPU_TARGET, GPU_TARGET), "portable"),
    ],
)
def test_one_training_serves_every_target(targets, profile, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert training_profile(targets) == profile


def test_what_a_stage_asks_of_the_recipe(tmp_path):
    from edgekd.recipe import load_recipe
    from tests.toy import RECIPE, write_recipe

    text = RECIPE + "targets:\n  - {device: jetson, runtime: tensorrt, architecture: arm}\n"
    recipe = load_recipe(write_recipe(tmp_path, text.replace("accuracy_drop: 100", "accuracy_drop: 1.5")))
    assert recipe.budget == Budget(accuracy_drop=1.5)
    needs = WORK[recipe.stages[-1].name].needs(recipe)
    assert needs == Precisions(1.5, **GPU)
    # As before there were others, so that what has been quantised is found again.
    assert set(needs.to_json()) == {"accuracy_drop", "profile", "computes_float16"}
    assert Precisions(1.5, **GPU, further={"r2": 0.1}).to_json()["further_drops"] == {"r2": 0.1}


def test_a_network_from_a_checkpoint_keeps_its_statistics(digits, trained, tmp_path):
    """It comes in training mode, in which looking at its answers would move them."""
    import copy

    network = copy.deepcopy(trained).train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    spec = Spec("small_cnn", digits.input_shape, 10, {"width": 8})
    asked = Precisions(None, **CPU)
    quantize(Job("01-quantize", network, spec, Quantize(**QUICK), digits, 0, None, tmp_path, lambda _: None, asked))
    assert before
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())
