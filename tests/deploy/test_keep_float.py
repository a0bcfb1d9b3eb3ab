"""Parts of a network that stay in float, by path or by name of a node."""

import numpy as np
import pytest
import torch
from onnx import ModelProto

from edgekd.errors import ExportError
from edgekd.export import deploy, parity
from edgekd.quantize.fake_quant import weighted_layers
from tests.deploy.traced import Traced, constants, count, deployed, run, traced

TARGET = "onnxruntime-x86"
STEPS = ("QuantizeLinear", "DequantizeLinear")


def in_float(model: ModelProto) -> list[str]:
    """Names of convolutions and products whose weight is stored in float."""
    stored = constants(model)
    kinds = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    return [node.name for node in model.graph.node if node.op_type in kinds and node.input[1] in stored]


def trained_weight(made: Traced, path: str) -> np.ndarray:
    [layer] = [each for each in weighted_layers(made.graph) if each.layer == path]
    with torch.no_grad():
        return layer.weight_fake_quant(made.graph.get_parameter(layer.weight_name)).numpy()


@pytest.mark.parametrize(
    ("kept", "layers"),
    [
        ((), []),
        (("two",), ["two.0/Conv"]),
        (("two.0",), ["two.0/Conv"]),
        (("two.0/Conv",), ["two.0/Conv"]),
        (("one", "head/Gemm"), ["one.0/Conv", "head/Gemm"]),
    ],
)
def test_by_path_and_by_node(kept, layers):
    assert in_float(deploy(traced("residual").model, TARGET, kept)) == layers


@pytest.mark.parametrize("target", [TARGET, "openvino-x86"])
@pytest.mark.parametrize("kept", ["tw", "two.0/Add", "twos"])
def test_what_is_not_there(kept, target):
    """A part of a name is no path."""
    with pytest.raises(ExportError, match=f"the network has no layer '{kept}' to keep in float"):
        deploy(traced("residual").model, target, ("one", kept))


def test_a_layer_in_float_has_the_values_of_its_codes():
    made = traced("residual")
    model = deploy(made.model, TARGET, ("two",))
    [node] = [node for node in model.graph.node if node.name == "two.0/Conv"]
    np.testing.assert_array_equal(constants(model)[node.input[1]], trained_weight(made, "two.0"))


@pytest.mark.parametrize("target", ["onnxruntime-x86", "tensorrt"])
def test_everything(target):
    """The float twin: no step is left, and the weights are those that were trained, on their grid."""
    made = traced("residual")
    model = deploy(made.model, target, ("",))
    assert not set(STEPS) & set(count(model))
    assert len(in_float(model)) == 7
    answers, _ = run(model, made.inputs)
    same = parity(torch.from_numpy(made.answers()), torch.from_numpy(answers))
    assert same.agreement >= 30 / 32
    assert same.mean_steps < 4


def test_steps_are_as_many_as_what_computes_between_them():
    steps = count(deployed("residual", TARGET))
    assert steps["QuantizeLinear"] == sum((1, 5, 3, 2))  # the input, ReLUs, convolutions without one, the pooling
    assert steps["DequantizeLinear"] == 11 + 7 + 1  # the weights and the last bias
    steps = count(deployed("residual", "tensorrt"))
    assert steps["QuantizeLinear"] == sum((1, 4, 1, 1))  # the input, ReLUs, one identity (the other is read already)
    assert steps["DequantizeLinear"] == 7 + 7


@pytest.mark.parametrize("kept", ["one", "two"])
def test_int8_ends_before_and_begins_after(kept):
    """What is in float reads what codes stand for, and its result is rounded for whoever computes in int8."""
    made = traced("residual")
    _, computed = run(deploy(made.model, TARGET, (kept,)), made.inputs)
    kinds = count(computed)
    assert kinds["QLinearConv"] == 5
    assert kinds["Conv"] + kinds["FusedConv"] == 1
    assert kinds["DequantizeLinear"] == 1
    assert kinds["QuantizeLinear"] == 2
