"""The Q/DQ pairs of a quantised graph: those of its activations, and its quantised weights."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CLAMPS = ("Relu", "Clip")
# Operators of one activation, whose other inputs are shapes, indices and the like, which may be computed.
MOVING_ONE = (
    *("Reshape", "Split", "Squeeze", "Unsqueeze", "Slice", "Gather", "Expand"),
    *("Resize", "Pad", "Tile", "DepthToSpace"),
)


@dataclass(frozen=True, eq=False)
class QdqPair:
    """An activation's QuantizeLinear and its only DequantizeLinear."""

    quantize: ir.Node
    dequantize: ir.Node

    @property
    def source(self) -> ir.Value:
        """Return the float activation before the pair."""
        return required(self.quantize, 0)

    @property
    def result(self) -> ir.Value:
        """Return the quantised activation behind the pair, as float."""
        return self.dequantize.outputs[0]

    @property
    def scale(self) -> np.ndarray:
        return constant(self.dequantize.inputs[1])

    @property
    def zero_point(self) -> np.ndarray:
        return constant(self.dequantize.inputs[2])


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """The weight of a layer with the scales of its output channels, and the range of its codes."""

    layer: ir.Node
    parameter: ir.Value
    scale: np.ndarray
    axis: int
    lowest: int
    highest: int
    transposed: bool

    @property
    def codes(self) -> np.ndarray:
        """Return the int8 codes, rounded as PyTorch does: the product with the reciprocal, halves to even."""
        values = constant(self.parameter)
        shape = [-1 if dim == self.axis else 1 for dim in range(values.ndim)]
        steps = np.rint(values * (np.float32(1) / self.scale.reshape(shape)))
        return np.clip(steps, self.lowest, self.highest).astype(np.int8)


def required(node: ir.Node, index: int) -> ir.Value:
    """Return an input that the operator requires."""
    value = node.inputs[index]
    assert value is not None
    return value


def constant(value: ir.Value | None) -> np.ndarray:
    """Return the array of a constant."""
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Add ``array`` to the graph as a new constant, and return it."""
    names, number = graph.initializers, 1
    while name in names:  # a weight that two layers share has a name for each
        number += 1
        name = f"{name.removesuffix(f'_{number - 1}')}_{number}"
    value = ir.val(name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value


def activations_of(node: ir.Node) -> list[ir.Value]:
    """Return the inputs of ``node`` that are activations."""
    given = [value for value in node.inputs if value is not None and not value.is_initializer()]
    return given[:1] if node.op_type in MOVING_ONE else given


def interpolates(node: ir.Node) -> bool:
    """Return whether ``node`` resizes between values: on codes, kernels of runtimes cut off instead of rounding."""
    return node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") != "nearest"


def before_clamp(node: ir.Node | None) -> ir.Node | None:
    """Return the operator whose result ``node`` clamps, if nothing else reads it; otherwise ``node``."""
    if node is not None and node.op_type in CLAMPS and len(required(node, 0).uses()) == 1:
        return required(node, 0).producer() or node
    return node


def layer_of(node: ir.Node) -> str:
    """Return the path of the module that ``node`` belongs to, the first part of its name."""
    return (node.name or "").partition("/")[0]


def qdq_pairs(graph: ir.Graph) -> list[QdqPair]:
    """Return the Q/DQ pairs of all activations; several DequantizeLinear behind one QuantizeLinear become one."""
    return [
        QdqPair(node, _only_dequantize(graph, node))
        for node in graph
        if node.op_type == "QuantizeLinear" and not required(node, 0).is_initializer()
    ]


def _only_dequantize(graph: ir.Graph, quantize: ir.Node) -> ir.Node:
    first, *others = [use for use in quantize.outputs[0].consumers() if use.op_type == "DequantizeLinear"]
    for other in others:
        other.outputs[0].replace_all_uses_with(first.outputs[0])
        graph.remove(other, safe=True)
    quantize.append(first)  # before all readers
    return first


def quantized_weights(graph: ir.Graph) -> Iterator[QuantizedWeight]:
    """Yield the quantised weights of the graph, in the order of their layers."""
    for node in graph:
        if node.op_type in WEIGHTED and (weight := _weight_of(node)) is not None:
            yield weight


def _weight_of(layer: ir.Node) -> QuantizedWeight | None:
    maker = required(layer, 1).producer()
    transposed = maker is not None and maker.op_type == "Transpose"
    if maker is not None and transposed:
        maker = required(maker, 0).producer()
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    step = required(maker, 0).producer()
    lowest, highest = -128, 127
    if step is not None and step.op_type == "Clip":
        lowest, highest = int(constant(step.inputs[1])), int(constant(step.inputs[2]))
        step = required(step, 0).producer()
    if step is None or step.op_type != "QuantizeLinear" or not required(step, 0).is_initializer():
        return None
    axis = maker.attributes.get_int("axis", 1)
    scale = np.atleast_1d(constant(maker.inputs[1]))
    return QuantizedWeight(layer, required(step, 0), scale, axis, lowest, highest, transposed)
