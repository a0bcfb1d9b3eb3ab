"""Files for ONNX Runtime: everything that it has an int8 kernel for runs in it, and answers as PyTorch does."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgekd.export import deploy, parity
from edgekd.quantize.fake_quant import weighted_layers
from tests.deploy.networks import NETWORKS
from tests.deploy.traced import constants, count, deployed, readers, run, traced

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Of ONNX Runtime's float operators those that the networks have, or that it makes of them.
FLOAT = {
    *("Conv", "FusedConv", "Gemm", "FusedGemm", "FusedMatMul", "MatMul", "BatchNormalization", "Relu", "Clip"),
    *("HardSwish", "HardSigmoid", "Sigmoid", "QuickGelu", "Mul", "ReduceMean", "GlobalAveragePool", "Concat", "Add"),
}
TARGETS = ("onnxruntime-x86", "onnxruntime-arm")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_computes_in_float(name, target):
    made = traced(name)
    _, computed = run(deployed(name, target), made.inputs, signed=target == "onnxruntime-arm")
    kinds = count(computed)
    # a product on tokens gives float to the sum with its bias, and a mean over tokens is no pooling
    by_nature = {"Add", "ReduceMean"} if name == "tokens" else set()
    by_nature |= {"Clip"}  # on codes, where the trained range ends before those of the type
    assert FLOAT & set(kinds) <= by_nature
    layers = [module for module in made.network.modules() if isinstance(module, (nn.Conv2d, nn.Conv3d))]
    # a standing BatchNorm is a convolution of 1x1
    assert kinds["QLinearConv"] == len(layers) + (2 if name == "dense" else 0)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_answers_as_the_trained_graph(name, target):
    """Gates over a fixed range are up to 1/255 off; of the rest the steps are the same, and ties go either way."""
    made = traced(name)
    answers, _ = run(deployed(name, target), made.inputs, signed=target == "onnxruntime-arm")
    same = parity(torch.from_numpy(made.answers()), torch.from_numpy(answers))
    assert same.agreement >= 31 / 32
    assert same.mean_steps < (2.0 if name in ("mobilenetv3", "swish") else 0.6)
    assert same.max_steps < 12


def test_a_transposed_convolution_has_no_int8_kernel_and_its_neighbours_do():
    _, computed = run(deployed("upsampling", "onnxruntime-x86"), traced("upsampling").inputs)
    kinds = count(computed)
    assert (kinds["ConvTranspose"], kinds["QLinearConv"]) == (1, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_the_trained_codes(name):
    """Rounded and clipped by PyTorch's own kernel; int8 in the file, inline."""
    made, model = traced(name), deployed(name, "onnxruntime-x86")
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    stored = constants(model)
    steps = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    layers = {layer.layer: layer for layer in weighted_layers(made.graph)}
    found = [node for node in model.graph.node if node.op_type in LAYERS and node.name.partition("/")[0] in layers]
    assert len(found) == len(layers)
    for node in found:
        layer = layers[node.name.partition("/")[0]]
        with torch.no_grad():
            expected = layer.weight_fake_quant(made.graph.get_parameter(layer.weight_name)).numpy()
        if node.op_type == "ConvTranspose":  # without an int8 kernel: what the codes stand for
            values = stored[node.input[1]]
        else:
            values = _dequantised(steps[node.input[1]], stored)
        np.testing.assert_array_equal(values.T if node.op_type == "MatMul" else values, expected)


def _dequantised(step: onnx.NodeProto, stored: dict[str, np.ndarray]) -> np.ndarray:
    codes, scale = (stored[each] for each in step.input[:2])
    assert codes.dtype == np.int8
    [axis] = [attribute.i for attribute in step.attribute if attribute.name == "axis"]
    return codes.astype(np.float32) * scale.reshape([-1 if dim == axis else 1 for dim in range(codes.ndim)])


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_relu_gives_has_zero_at_the_smallest_code(target):
    model = deployed("residual", target)
    stored = constants(model)
    relus = {node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    zeros = [
        stored[node.input[2]]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in relus
    ]
    assert len(zeros) == len(relus) == 5
    smallest = np.uint8(0) if target == "onnxruntime-x86" else np.int8(-128)
    assert all(zero == smallest and zero.dtype == smallest.dtype for zero in zeros)


@pytest.mark.parametrize("name", ["residual", "mobilenetv3"])
def test_codes_move_and_their_values_do_not(name):
    """The same scales in every file, in uint8 around 128 and in int8 around 0."""
    x86, arm = deployed(name, "onnxruntime-x86"), deployed(name, "onnxruntime-arm")
    for ours, theirs in zip(x86.graph.node, arm.graph.node, strict=True):
        assert (ours.name, ours.op_type) == (theirs.name, theirs.op_type)
        if ours.op_type == "QuantizeLinear":
            scale, zero = (constants(x86)[each] for each in ours.input[1:])
            same_scale, signed = (constants(arm)[each] for each in theirs.input[1:])
            assert scale == same_scale
            assert int(zero) - 128 == int(signed)


def test_logits_are_float_and_the_last_bias_is_of_32_bits():
    model = deployed("residual", "onnxruntime-x86")
    [head] = [node for node in model.graph.node if node.op_type == "Gemm"]
    assert model.graph.output[0].name == head.output[0]
    steps = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    stored = constants(model)
    codes, scale = (stored[each] for each in steps[head.input[2]].input[:2])
    assert codes.dtype == np.int32
    bias = traced("residual").graph.get_parameter("head.bias").detach().numpy()
    np.testing.assert_allclose(codes * scale, bias, atol=float(scale.max()) / 2 * 1.01)


@pytest.mark.parametrize("target", TARGETS)
def test_the_file_says_what_was_asked(target):
    model = deployed("residual", target)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 20}
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert {entry.key for entry in model.metadata_props} == {"edgekd.preprocess", "edgekd.labels"}
    onnx.checker.check_model(model, full_check=True)


def test_one_step_for_each_activation():
    """Of several DequantizeLinear behind one QuantizeLinear one is left, and nothing is rounded that nobody reads."""
    model = deployed("residual", "onnxruntime-x86")
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            [back] = readers(model, node.output[0])
            if back.op_type == "Clip":  # the trained range ends before the codes do
                [back] = readers(model, back.output[0])
            assert back.op_type == "DequantizeLinear"
            assert readers(model, back.output[0])


def test_the_graph_that_came_is_left_alone():
    before = traced("residual").model.SerializeToString(deterministic=True)
    deploy(traced("residual").model, "onnxruntime-arm")
    assert traced("residual").model.SerializeToString(deterministic=True) == before


def test_the_same_bytes_each_time():
    first, second = (deploy(traced("residual").model, "onnxruntime-x86") for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
