"""The rules say what ONNX Runtime does, for every combination of what decides it."""

from itertools import product

import numpy as np
import onnx
import pytest

from edgekd.lint import TARGETS, lint
from tests.lint.graphs import I8, U8, Net

ZEROS = {"uint8 0": U8(0), "uint8 128": U8(128), "int8 0": I8(0), "int8 -128": I8(-128)}
CLAMPS = ("none", "relu", "relu6 idle", "relu6 wide")
OUTPUTS = ("quantised", "pooled", "also float", "float")
BIASES = ("none", "float", "int32", "int32 of another scale")
OPSETS = (10, 11, 13, 17, 20, 21, 23)
WEIGHTS = ("int8", "uint8", "float", "float with a pair")
NAMES = ("onnxruntime-x86-vnni", "onnxruntime-arm")
SHARE = 263  # one in so many of all combinations, spread over every axis; a prime, so that it meets all values


def combinations(op: str) -> list[tuple]:
    every = list(product(ZEROS, (None, "uint8 0", "int8 0"), CLAMPS, OUTPUTS, BIASES, OPSETS, WEIGHTS))
    # Before opset 11 a Gemm must have a bias.
    legal = [each for each in every if op != "Gemm" or each[5] > 10 or each[4] != "none"]
    return legal[::SHARE]


def model(op, zero, out_zero, clamp, output, bias, opset, weight) -> onnx.ModelProto:
    net, taken = Net(), ZEROS[out_zero or zero]
    per_channel = opset >= 13
    x = net.pair("x" if op == "Conv" else net.node("Flatten", "x"), ZEROS[zero])
    inputs = [x, weight_of(net, op, weight, per_channel), *bias_of(net, bias, per_channel)]
    if op == "MatMul":
        y = net.node("MatMul", *inputs[:2], name="layer")
        y = net.node("Add", y, inputs[2]) if len(inputs) > 2 else y
    else:
        y = net.conv(*inputs, name="layer") if op == "Conv" else net.node("Gemm", *inputs, name="layer", transB=1)
    scale = 6 / 255 if clamp == "relu6 idle" else 0.05
    return net.model(*ends(net, op, clamped(net, y, clamp, opset), output, taken, scale), opset=opset)


def weight_of(net: Net, op: str, kind: str, per_channel: bool) -> str:
    shape = {"Conv": (16, 16, 3, 3), "Gemm": (16, 1024), "MatMul": (1024, 16)}[op]
    axis = (1 if op == "MatMul" else 0) if per_channel else None
    if kind == "float":
        return net.float_weight(*shape)
    if kind != "float with a pair":
        return net.weight(shape, U8 if kind == "uint8" else I8, axis)
    if axis is None:
        return net.pair(net.float_weight(*shape), I8(0), 0.01)
    return net.pair(net.float_weight(*shape), np.zeros(16, np.int8), np.full(16, 0.01), axis=axis)


def bias_of(net: Net, kind: str, per_channel: bool) -> list[str]:
    if kind == "none":
        return []
    if kind == "float":
        return [net.float_weight(16)]
    scale = 0.05 * 0.01 if kind == "int32" else 0.1
    return [net.int32_bias(scale=scale) if per_channel else net.dq(net.constant(np.ones(16), np.int32), scale)]


def clamped(net: Net, y: str, clamp: str, opset: int) -> str:
    if clamp == "none":
        return y
    if clamp == "relu":
        return net.node("Relu", y)
    if opset < 11:
        return net.node("Clip", y, min=0.0, max=6.0)
    return net.node("Clip", y, net.constant(0, np.float32), net.constant(6, np.float32))


def ends(net: Net, op: str, y: str, kind: str, zero: object, scale: float) -> list[str]:
    if kind == "float":
        return [net.node("Sigmoid", y)]
    if kind == "also float":
        return [net.pair(y, zero, scale), net.node("Sigmoid", y)]
    if kind == "pooled":
        shape = net.constant([-1, 4], np.int64)
        y = net.node("MaxPool", y, kernel_shape=[2, 2]) if op == "Conv" else net.node("Reshape", y, shape)
    return [net.pair(y, zero, scale)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul"])
def test_the_rules_say_what_the_optimised_graph_shows(op, name):
    target, seen = TARGETS[name], set()
    for combination in combinations(op):
        made = model(op, *combination)
        found = lint(made, name, confirm=False)
        said = target.confirm(made, target)
        assert found.refused == (said.refusal is not None), (combination, said.refusal)
        if not found.refused:
            index = next(index for index, node in enumerate(made.graph.node) if node.name == "layer")
            predicted = next(layer.predicted for layer in found.layers if layer.name == "layer")
            assert predicted == said.int8[index], combination
            seen.add(predicted)
    assert seen == {True, False}


@pytest.mark.parametrize("opset", range(11, 25))
def test_every_opset_is_fused(opset):
    """The list of opsets that the selectors matched, {10, 13, 19, 21}, is no longer one in ONNX Runtime 1.31."""
    layer = lint(model("Conv", "uint8 0", None, "relu", "quantised", "float", opset, "int8"), "onnxruntime-arm").layers[
        0
    ]
    assert (layer.int8, layer.confirmed) == (True, True)


@pytest.mark.parametrize("op", ["Add", "Mul", "Concat"])
def test_joins_say_what_the_optimised_graph_shows(op):
    attributes = {"axis": 1} if op == "Concat" else {}
    for left, right, out, clamp, name in product(
        (None, "uint8 0", "int8 0"), ("uint8 0", "int8 0"), (None, "uint8 0", "int8 -128"), ("none", "relu"), NAMES
    ):
        net = Net()
        one = net.node("Abs", "x") if left is None else net.pair(net.node("Abs", "x"), ZEROS[left])
        y = clamped(net, net.node(op, one, net.pair("x", ZEROS[right]), name="layer", **attributes), clamp, 17)
        y = net.node("Sigmoid", y) if out is None else net.pair(y, ZEROS[out])
        flat = net.pair(net.node("Flatten", y), U8(0))
        found = lint(
            net.model(net.node("MatMul", flat, net.weight((2048 if op == "Concat" else 1024, 4), axis=1))), name
        )
        layer = next(layer for layer in found.layers if layer.name == "layer")
        assert layer.confirmed is not None
        assert found.disagreements == (), (left, right, out, clamp, name)
