"""Strongly typed graphs, as edgekd exports them for TensorRT: float16 inside, float32 edges, int8 Q/DQ around."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT16, FLOAT32 = TensorProto.FLOAT16, TensorProto.FLOAT


class Graph:
    def __init__(self, scale: Any = np.float16) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.scale = scale
        self.random = np.random.default_rng(0)

    def constant(self, values: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values), f"c{len(self.weights)}"))
        return self.weights[-1].name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def fake_quant(self, x: str, scale: Any = 0.05, zero: int = 0, **axis: int) -> str:
        steps = np.asarray(scale, self.scale)
        edges = self.constant(steps), self.constant(np.full(steps.shape, zero, np.int8))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *edges, **axis), *edges, **axis)

    def int8_weight(self, shape: Sequence[int], scale: float = 0.01) -> str:
        values = self.constant(self.random.integers(-127, 128, shape).astype(np.int8))
        steps = self.constant(np.full(shape[0], scale, self.scale))
        return self.node("DequantizeLinear", values, steps, self.constant(np.zeros(shape[0], np.int8)), axis=0)

    def conv(self, x: str, weight: str, channels: int, **attributes: Any) -> str:
        bias = self.constant(self.random.normal(size=channels).astype(np.float16))
        return self.node("Conv", x, weight, bias, pads=[1, 1, 1, 1], **attributes)

    def quantised_conv(self, x: str, inputs: int, outputs: int) -> str:
        weight = self.int8_weight((outputs, inputs, 3, 3))
        return self.conv(self.fake_quant(x), weight, outputs, kernel_shape=[3, 3])

    def model(self, y: str, shape: Sequence[Any], rank: int = 4, opset: int = 20) -> bytes:
        """From float32 ``input`` to float32 ``logits`` of ``rank`` dimensions."""
        self.nodes.append(helper.make_node("Cast", [y], ["logits"], "to_float32", to=FLOAT32))
        given = helper.make_tensor_value_info("input", FLOAT32, shape)
        made = helper.make_tensor_value_info("logits", FLOAT32, [shape[0]] + [None] * (rank - 1))
        graph = helper.make_graph(self.nodes, "net", [given], [made], self.weights)
        model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def started(scale: Any = np.float16) -> tuple[Graph, str]:
    graph = Graph(scale)
    return graph, graph.node("Cast", "input", to=FLOAT16)


def residual_net(shape: Sequence[Any] = ("batch", 16, 8, 8), opset: int = 20) -> bytes:
    """A convolution, a residual block of two and a classifier, all int8; Q/DQ on the identity branch alone."""
    graph, x = started()
    x = identity = graph.node("Relu", graph.quantised_conv(x, 16, 32))
    x = graph.node("Relu", graph.quantised_conv(x, 32, 32))
    x = graph.quantised_conv(x, 32, 32)
    x = graph.node("Relu", graph.node("Add", x, graph.fake_quant(identity)))
    x = graph.fake_quant(graph.node("Flatten", graph.node("GlobalAveragePool", x)))
    bias = graph.constant(np.zeros(10, np.float16))
    return graph.model(graph.node("Gemm", x, graph.int8_weight((10, 32)), bias, transB=1), shape, 2, opset)


def one_conv(
    scale: Any = 0.05,
    zero: int = 0,
    weight_scale: float = 0.01,
    kernel: bool = True,
    dtype: Any = np.float16,
    **axis: int,
) -> bytes:
    graph, x = started(dtype)
    weight = graph.int8_weight((32, 16, 3, 3), weight_scale)
    shape = {"kernel_shape": [3, 3]} if kernel else {}
    return graph.model(graph.conv(graph.fake_quant(x, scale, zero, **axis), weight, 32, **shape), ("batch", 16, 8, 8))
