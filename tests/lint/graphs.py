"""Small Q/DQ graphs made by hand, node by node."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

U8, I8 = np.uint8, np.int8
ZERO = U8(0)
SHAPE = ("batch", 16, 8, 8)


class Net:
    """Each method adds nodes and gives the name of what they make; the input is ``x``."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.numbers = count()
        self.random = np.random.default_rng(0)

    def constant(self, value: ArrayLike, dtype: Any = None) -> str:
        name = f"constant_{next(self.numbers)}"
        self.stored.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{op.lower()}_{next(self.numbers)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def q(self, x: str, scale: ArrayLike, zero: Any, **attributes: Any) -> str:
        return self.node("QuantizeLinear", x, self.constant(scale, np.float32), self.constant(zero), **attributes)

    def dq(self, x: str, scale: ArrayLike, zero: Any = None, **attributes: Any) -> str:
        zeros = [] if zero is None else [self.constant(zero)]
        return self.node("DequantizeLinear", x, self.constant(scale, np.float32), *zeros, **attributes)

    def pair(self, x: str, zero: Any = ZERO, scale: ArrayLike = 0.05, **attributes: Any) -> str:
        return self.dq(self.q(x, scale, zero, **attributes), scale, zero, **attributes)

    def weight(
        self,
        shape: Sequence[int] = (16, 16, 3, 3),
        dtype: Any = I8,
        axis: int | None = 0,
        high: int = 64,
        zero: int = 0,
    ) -> str:
        """In int8 behind a DequantizeLinear, with a scale of 0.01 for each channel, or one with ``axis=None``."""
        middle = 128 if dtype is U8 else 0
        stored = self.constant((self.random.integers(-high, high, shape) + middle).astype(dtype))
        if axis is None:
            return self.dq(stored, 0.01, dtype(zero + middle))
        channels = shape[axis]
        return self.dq(stored, np.full(channels, 0.01), np.full(channels, zero + middle, dtype), axis=axis)

    def float_weight(self, *shape: int) -> str:
        return self.constant(self.random.standard_normal(shape or (16, 16, 3, 3)), np.float32)

    def int32_bias(self, channels: int = 16, scale: float = 0.05 * 0.01) -> str:
        return self.dq(self.constant(self.random.integers(-9, 9, channels), np.int32), np.full(channels, scale), axis=0)

    def conv(self, x: str, weight: str = "", bias: str = "", name: str = "", **attributes: Any) -> str:
        inputs = [x, weight or self.weight(), *([bias] if bias else [])]
        return self.node("Conv", *inputs, name=name, **{"kernel_shape": [3, 3], "pads": [1] * 4, **attributes})

    def model(self, *outputs: str, opset: int = 17, shape: Sequence[int | str] = SHAPE) -> onnx.ModelProto:
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "net", given, made, self.stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def clean(zero: Any = ZERO, bias: str = "int32", scale: float = 0.05) -> onnx.ModelProto:
    """A residual block, a pooling and a product, all of which ONNX Runtime fuses."""
    net = Net()
    added = {"int32": net.int32_bias, "float": lambda: net.constant(np.ones(16), np.float32)}[bias]
    start = net.pair("x", zero, scale)
    one = net.pair(net.node("Relu", net.conv(start, bias=added(), name="one")), zero, scale)
    two = net.pair(net.conv(one, bias=added(), name="two"), zero, scale)
    total = net.pair(net.node("Relu", net.node("Add", two, start, name="sum")), zero, scale)
    pooled = net.pair(net.node("GlobalAveragePool", total, name="pool"), zero, scale)
    flat = net.pair(net.node("Reshape", pooled, net.constant([-1, 16], np.int64)), zero, scale)
    return net.model(net.node("Gemm", flat, net.weight((10, 16)), net.int32_bias(10), name="head", transB=1))


def run(model: onnx.ModelProto, feed: NDArray[np.float32], optimise: bool = True) -> NDArray[np.float32]:
    """What ONNX Runtime answers."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": feed})[0]
