"""Files for OpenVINO: every layer computes in int8 there, and the answers are those of the trained graph."""

import numpy as np
import onnx
import pytest
import torch

from edgekd.bench.plan import Workload
from edgekd.deploy import deploy
from edgekd.export import parity
from edgekd.lint import lint
from tests.deploy.networks import ALL, NETWORKS
from tests.deploy.traced import constants, count, deployed, traced

TARGET = "openvino-x86"
PROFILES = ("portable", TARGET)


def answers(model: onnx.ModelProto, inputs: torch.Tensor, folder) -> torch.Tensor:
    from edgekd.runtimes.openvino.session import OpenVinoSession

    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    session = OpenVinoSession(Workload(str(path), "openvino"), 1, seed=None)
    return torch.from_numpy(session.outputs({"input": inputs.numpy()})["logits"])


@pytest.mark.parametrize("name", [name for name in ALL if name != "upsampling"])
def test_every_layer_computes_in_int8(name):
    found = lint(deployed(name, TARGET), TARGET)
    assert (found.coverage, found.disagreements) == (1.0, ())
    assert found.confirmed_by.startswith("OpenVINO")
    assert all(layer.confirmed for layer in found.weighted)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["residual", "mobilenetv3", "channels_last"])
def test_it_answers_as_the_trained_graph(name, profile, tmp_path):
    """OpenVINO takes the result of a convolution unrounded into a sum that it fuses."""
    made = traced(name, profile)
    same = parity(torch.from_numpy(made.answers()), answers(deployed(name, TARGET, profile), made.inputs, tmp_path))
    assert same.agreement >= 30 / 32
    assert same.mean_steps < 2
    assert same.max_steps < 12


def test_a_transposed_convolution_computes_in_int8_without_a_zero_point():
    layers = {layer.op: layer for layer in lint(deployed("upsampling", TARGET), TARGET).layers}
    assert layers["ConvTranspose"].confirmed


@pytest.mark.parametrize("name", ["mobilenetv3", "swish"])
def test_activation_functions_read_what_the_layer_gives(name):
    """OpenVINO fuses them into the layer, unless a Q/DQ pair stands between."""
    model = deployed(name, TARGET)
    makers = {node.output[0]: node.op_type for node in model.graph.node}
    functions = [node for node in model.graph.node if node.op_type in ("HardSwish", "Sigmoid", "Clip")]
    assert functions
    assert not any(makers.get(node.input[0]) == "DequantizeLinear" for node in functions)
    assert "HardSigmoid" not in count(model)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_two_steps_share_a_constant(name):
    """With shared ones OpenVINO 2026.4 leaves layers of some networks in float."""
    model = deployed(name, TARGET)
    steps = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    parameters = [parameter for step in steps for parameter in step.input[1:3]]
    assert len(parameters) == len(set(parameters))


def test_products_of_four_dimensions_are_computed_in_three():
    """With a zero point, as behind GELU, OpenVINO fuses bias and activation function into such products alone."""
    model = deployed("channels_last", TARGET, TARGET)
    products = [layer for layer in lint(model, TARGET).layers if layer.op == "MatMul"]
    assert [layer.rule for layer in products] == [None, None]
    assert all(layer.confirmed for layer in products)
    # One reshape before the first product, and one behind the second.
    assert count(model)["Reshape"] == 2
    ends = {node.output[0]: node for node in model.graph.node if node.op_type == "Reshape"}
    shapes = [constants(model)[node.input[1]].tolist() for node in ends.values()]
    assert shapes == [[0, 64, 8], [0, 8, 8, 8]]


def test_codes_that_are_moved_are_not_rounded_again():
    """Of the concatenation, the views and the split of a shuffle none has a pair behind it."""
    model = deployed("shuffle", TARGET, TARGET)  # with one range for what is concatenated
    makers = {node.output[0]: node.op_type for node in model.graph.node}
    rounded = [makers.get(node.input[0]) for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert not {"Concat", "Reshape", "Transpose", "Split"} & set(rounded)


def test_zero_points_are_the_trained_ones():
    stored = constants(deployed("mobilenetv3", TARGET, TARGET))
    zeros = {int(array) for name, array in stored.items() if name.startswith("zero_point") and array.ndim == 0}
    assert len(zeros) > 2


def test_what_is_kept_in_float_has_float_weights():
    """Int8 weights of a float layer would be converted in every inference."""
    model = deploy(traced("residual").model, TARGET, ["one"])
    found = {each.name: each for each in lint(model, TARGET).layers}
    [layer] = [node for node in model.graph.node if node.op_type == "Conv" and node.name.startswith("one.")]
    assert constants(model)[layer.input[1]].dtype == np.float32
    assert not found[layer.name].confirmed
    assert (
        sum(bool(each.confirmed) for each in found.values() if each.op == "Conv")
        == len([each for each in found.values() if each.op == "Conv"]) - 1
    )
