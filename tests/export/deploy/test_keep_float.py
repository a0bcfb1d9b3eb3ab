"""Parts of a network that stay in float, by path or by name of a node."""

import numpy as np
import pytest
import torch
from onnx import ModelProto

from edgekd.export import deploy, parity
from edgekd.quantize.fake_quant import weighted
from tests.export.deploy.traced import Traced, constants, count, deployed, run, traced

TARGET = "onnxruntime-x86"
STEPS = ("QuantizeLinear", "DequantizeLinear")


def in_float(model: ModelProto) -> list[str]:
    """Names of convolutions and products whose weight is stored in float."""
    stored = constants(model)
    kinds = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    return [node.name for node in model.graph.node if node.op_type in kinds and node.input[1] in stored]


def trained_weight(made: Traced, path: str) -> np.ndarray:
    [layer] = [each for each in weighted(made.graph) if each.layer == path]
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
        (("tw", "two.0/Add"), []),  # a part of a name is no path
    ],
)
def test_by_path_and_by_node(kept, layers):
    assert in_float(deploy(traced("residual").model, TARGET, kept)) == layers


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
    assert same.mean_steps < 2.5


def test_steps_are_as_many_as_what_computes_between_them():
    """Seven layers' weights; the input, five ReLUs, a convolution of 1x1, one that a sum reads, and the pooling."""
    assert count(deployed("residual", TARGET))["QuantizeLinear"] == 10
    assert count(deployed("residual", TARGET))["DequantizeLinear"] == 10 + 7 + 1  # the last bias
    # the input, what each layer reads, two identities less those read already, and no bias
    assert count(deployed("residual", "tensorrt"))["QuantizeLinear"] == 7
    assert count(deployed("residual", "tensorrt"))["DequantizeLinear"] == 7 + 7


def test_int8_ends_before_and_begins_after():
    """What is in float is an island: it reads codes, and its result is rounded for whoever computes in int8."""
    made = traced("residual")
    model = deploy(made.model, TARGET, ("one",))
    _, computed = run(model, made.inputs)
    kinds = count(computed)
    assert kinds["QLinearConv"] == 5
    assert kinds["Conv"] + kinds["FusedConv"] == 1
    assert kinds["DequantizeLinear"] == 1
    assert kinds["QuantizeLinear"] == 2
