"""ONNX models with one branch for each layer, as ONNX Runtime meets the layer in a network's file.

Every branch has an input of its own and a small output, so that neither affects the layer's time. Floats are reordered
into blocks of channels before the layer and averaged behind it; int8 codes are converted before, and sliced behind.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgekd.prune.latency.layer import Layer

OPSET, IR_VERSION = 20, 10
PREFIX = "layer_"
# Not zero, with which a processor may be faster, and not so small that products underflow.
WEIGHT, SCALE = 0.01, 0.02


def branches(layers: Sequence[Layer], precision: str, codes: type[np.uint8 | np.int8] = np.uint8) -> ModelProto:
    """Build a model that computes each of ``layers`` once; names of the n-th begin with ``layer_n``.

    Args:
        layers: each with one size.
        precision: ``float32``, or ``int8`` for QuantizeLinear and DequantizeLinear around int8 layers.
        codes: the type of int8 activations: ``np.uint8``, or ``np.int8`` on Arm.
    """
    parts = [_Branch(f"{PREFIX}{index}", layer, precision, codes) for index, layer in enumerate(layers)]
    graph = helper.make_graph(
        [*chain.from_iterable(part.nodes for part in parts)],
        "layers",
        [part.given for part in parts],
        [part.result for part in parts],
        [*chain.from_iterable(part.constants for part in parts)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


class _Branch:
    def __init__(self, name: str, layer: Layer, precision: str, codes: type[np.uint8 | np.int8]):
        self.name, self.layer, self.codes = name, layer, codes
        # ONNX Runtime has no ConvTranspose in int8.
        self.in_int8 = precision == "int8" and layer.kind != "conv_transpose"
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        [size] = layer.sizes
        # An open batch, as in a network's file: ONNX Runtime fuses other operators where it knows the shape.
        per_sample = (*size, layer.inputs) if layer.kind == "linear" else (layer.inputs, *size)
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(codes if self.in_int8 else np.float32))
        self.given = helper.make_tensor_value_info(f"{name}/input", dtype, ["batch", *per_sample])
        self.result = helper.make_tensor_value_info(self._compute(), dtype, [None] * (1 + len(per_sample)))

    def _compute(self) -> str:
        step = self._step(0) if self.in_int8 else []
        x = self._node("DequantizeLinear", [self.given.name, *step]) if self.in_int8 else self.given.name
        y = self._weighted(x)
        if self.layer.activation:
            y = self._node("Relu", [y])
        if self.in_int8:
            y = self._node("QuantizeLinear", [y, *self._step(0 if self.layer.activation else 128)])
        return self._reduce(y)

    def _weighted(self, x: str) -> str:
        layer = self.layer
        shape = layer.weight_shape
        bias = self._constant("bias", np.full(layer.outputs, WEIGHT, np.float32))
        if layer.kind != "linear":
            transposed = layer.kind == "conv_transpose"
            operator = "ConvTranspose" if transposed else "Conv"
            extra = {"output_padding": layer.output_padding} if transposed else {}
            return self._node(
                operator,
                [x, self._weight(shape, 0), bias],
                kernel_shape=layer.kernel,
                strides=layer.stride,
                pads=layer.padding,
                dilations=layer.dilation,
                group=layer.groups,
                **extra,
            )
        if layer.sizes == ((),):
            return self._node("Gemm", [x, self._weight(shape, 0), bias], transB=1)
        product = self._node("MatMul", [x, self._weight(shape[::-1], 1)])
        return self._node("Add", [product, bias])

    def _weight(self, shape: tuple[int, ...], axis: int) -> str:
        if not self.in_int8:
            return self._constant("weight", np.full(shape, WEIGHT, np.float32))
        codes = self._constant("weight", np.ones(shape, np.int8))
        scale = self._constant("weight_scale", np.full(shape[axis], SCALE, np.float32))
        zero_point = self._constant("weight_zero_point", np.zeros(shape[axis], np.int8))
        return self._node("DequantizeLinear", [codes, scale, zero_point], axis=axis)

    def _step(self, above_smallest: int) -> list[str]:
        zero_point = np.array(np.iinfo(self.codes).min + above_smallest, self.codes)
        return [
            self._constant(f"scale_{len(self.constants)}", np.array(SCALE, np.float32)),
            self._constant(f"zero_point_{len(self.constants)}", zero_point),
        ]

    def _reduce(self, y: str) -> str:
        """Reduce the large output, whose memory would be fetched again in every inference."""
        if self.layer.sizes == ((),):
            return y
        if not self.in_int8:
            return self._node("GlobalAveragePool", [y])
        bounds = [self._constant(name, np.array([n], np.int64)) for name, n in (("start", 0), ("end", 1), ("axis", -1))]
        return self._node("Slice", [y, *bounds])

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{self.name}/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, suffix: str, value: np.ndarray) -> str:
        name = f"{self.name}/{suffix}"
        dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
        self.constants.append(helper.make_tensor(name, dtype, value.shape, value.tobytes(), raw=True))
        return name
