"""Files for TensorRT: symmetric int8 around layers with weights, float16 between, taken by its parser and builder."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from edgekd.errors import ExportError
from edgekd.export import deploy, parity
from edgekd.runtimes.tensorrt import build, layer_precisions, parse_errors
from tests.deploy.networks import NETWORKS
from tests.deploy.traced import constants, count, deployed, readers, run, traced

TARGET = "tensorrt"


@pytest.fixture
def rtx():
    return pytest.importorskip(
        "tensorrt_rtx", reason="'pip install tensorrt-rtx' brings what is missing here", exc_type=ImportError
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_zero_points_are_zero_and_scales_are_float16(name):
    model = deployed(name, TARGET)
    stored = constants(model)
    steps = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert steps
    for step in steps:
        scale, zero = (stored[each] for each in step.input[1:3])
        assert zero.dtype == np.int8
        assert not zero.any()
        assert scale.dtype == np.float16
        assert (scale > 0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_float16_everywhere_but_at_the_edges(name):
    model = onnx.shape_inference.infer_shapes(deployed(name, TARGET), strict_mode=True, data_prop=True)
    edges = [*model.graph.input, *model.graph.output]
    assert {value.type.tensor_type.elem_type for value in edges} == {TensorProto.FLOAT}
    assert count(model)["Cast"] == 2
    named = {value.name for value in edges}
    inside = {value.type.tensor_type.elem_type for value in model.graph.value_info if value.name not in named}
    assert TensorProto.FLOAT16 in inside
    assert TensorProto.FLOAT not in inside
    assert not any(tensor.data_type == TensorProto.FLOAT for tensor in model.graph.initializer)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_convolution_says_its_kernel(name):
    """TensorRT 10 cannot infer it through a DequantizeLinear."""
    made = traced(name)
    modules = {path: module for path, module in made.network.named_modules() if hasattr(module, "kernel_size")}
    found = {}
    for node in deployed(name, TARGET).graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            [kernel] = [tuple(each.ints) for each in node.attribute if each.name == "kernel_shape"]
            found[node.name.partition("/")[0]] = kernel
    assert found == {path: module.kernel_size for path, module in modules.items()}


def test_of_a_sum_only_the_identity_is_rounded():
    """So that the convolution beside it writes the sum itself; of two convolutions the nearer one is the identity."""
    model = deployed("residual", TARGET)
    makers = {output: node for node in model.graph.node for output in node.output}
    sums = [node for node in model.graph.node if node.op_type == "Add"]
    sides = [sorted(_origin(makers, each) for each in node.input) for node in sums]
    assert sides == [["Conv two.0", "rounded Relu stem.2"], ["Conv four.0", "rounded Conv down.0"]]


def _origin(makers: dict[str, onnx.NodeProto], value: str) -> str:
    node, rounded = makers[value], ""
    while node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        node, rounded = makers[node.input[0]], "rounded "
    return f"{rounded}{node.op_type} {node.name.partition('/')[0] or '/'}"


def test_nothing_else_is_rounded():
    """Inputs of layers with weights, and identities."""
    for name in NETWORKS:
        model = deployed(name, TARGET)
        for node in model.graph.node:
            if node.op_type == "QuantizeLinear":
                [back] = readers(model, node.output[0])
                kinds = {reader.op_type for reader in readers(model, back.output[0])}
                assert kinds & {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Reshape", "Unsqueeze"}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_answers_as_the_trained_graph(name):
    """In ONNX Runtime as it is written; what the trained graph rounds and this file does not is the difference."""
    made = traced(name)
    answers, _ = run(deployed(name, TARGET), made.inputs, optimised=False)
    same = parity(torch.from_numpy(made.answers()), torch.from_numpy(answers))
    assert same.agreement >= 29 / 32
    assert same.mean_steps < 2.5
    assert same.max_steps < 16


@pytest.mark.parametrize("name", NETWORKS)
def test_it_parses_and_runs_in_int8(rtx, name):
    content = deployed(name, TARGET).SerializeToString()
    assert parse_errors(content) == []
    precisions = layer_precisions(build(content, "SM89").layers)
    convolutions = [module for module in traced(name).network.modules() if isinstance(module, (nn.Conv2d, nn.Conv3d))]
    assert precisions.get("correlation", {}) == ({"int8": len(convolutions)} if convolutions else {})
    # with eight outputs or fewer a product on tokens is one of float16
    assert precisions["gemm"]["int8"] >= 1


@pytest.mark.parametrize("capability", ["SM80", "SM86", "SM89", "SM120"])
def test_it_is_built_for_every_generation(rtx, capability):
    engine = build(deployed("residual", TARGET).SerializeToString(), capability, batches=(1, 4, 8))
    assert layer_precisions(engine.layers)["correlation"] == {"int8": 6}


def test_a_weight_that_float16_cannot_hold():
    model = onnx.ModelProto()
    model.CopyFrom(traced("residual").model)
    [bias] = [tensor for tensor in model.graph.initializer if tensor.name == "head.bias"]
    bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([1e6, 0, 0, 0]), "head.bias"))
    with pytest.raises(ExportError, match=r"head.bias holds 1e\+06, and float16 ends at 65504: keep this network"):
        deploy(model, TARGET)
