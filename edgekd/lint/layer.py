"""A layer as the rules see it: its node, what its inputs are quantised to, and where its output goes."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.lint.graph import DEQUANTIZE, QUANTIZE, LintGraph, Quantiser, attribute

if TYPE_CHECKING:
    from onnx import NodeProto

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CLAMPS = ("Relu", "Clip")
# Operators that only move values or drop some: what is quantised before them is quantised behind.
MOVING = ("MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice")


@dataclass(frozen=True)
class Output:
    """The path from a layer's output to the QuantizeLinear that takes it, past ``clamps`` and what moves values.

    ``quantiser`` is None if no single one takes it; ``readers`` are then the nodes that do. ``moved`` says that it lies
    behind a :data:`MOVING` node.
    """

    quantiser: Quantiser | None
    clamps: tuple["NodeProto", ...]
    readers: tuple["NodeProto", ...] = ()
    is_output: bool = False
    moved: bool = False


@dataclass(frozen=True)
class LayerContext:
    """A node with the quantisation around it, as the rules read it.

    ``converts_int8``: the runtime turns int8 activations into uint8, as ONNX Runtime does on x86. ``saturates``: it
    adds products of 8 bits in 16. ``also_moving``: operators besides :data:`MOVING` that quantisers pass.
    """

    graph: LintGraph
    node: "NodeProto"
    converts_int8: bool = False
    saturates: bool = False
    also_moving: tuple[str, ...] = ()

    @property
    def moving(self) -> tuple[str, ...]:
        """Return the operators that quantisers pass; MaxPool takes int8 from opset 12 on."""
        known = MOVING if self.graph.opset >= 12 else tuple(op for op in MOVING if op != "MaxPool")
        return known + self.also_moving

    @property
    def op(self) -> str:
        return self.node.op_type

    @cached_property
    def activation(self) -> Quantiser | None:
        return self.graph.dequantiser(self.node.input[0], self.moving)

    @cached_property
    def highest_code(self) -> int:
        """Return the largest uint8 code that the activation can have: 255, or the bound of a Clip of its codes."""
        made = self.graph.source(self.activation.node.input[0]) if self.activation is not None else None
        while made is not None and made.op_type in self.moving:
            made = self.graph.source(made.input[0])
        if made is None or made.op_type != "Clip" or len(made.input) < 3:
            return 255
        bound = self.graph.constant(made.input[2])
        return 255 if bound is None or bound.dtype != np.uint8 else int(bound)

    @cached_property
    def weight(self) -> Quantiser | None:
        """Return the quantiser of the second input; its axis is that of the tensor after any Transpose."""
        node, turns = self.graph.source(self.node.input[1]), []
        while node is not None and node.op_type == "Transpose":
            turns.append(node)
            node = self.graph.source(node.input[0])
        if node is None or node.op_type != DEQUANTIZE:
            return None
        found = self.graph.quantiser(node)
        axis = found.axis
        for turn in reversed(turns):
            axis = _turned(turn, 1 if axis is None else axis, len(self.weight_shape))
        return Quantiser(node, found.scale, found.zero_point, found.dtype, axis)

    @cached_property
    def weight_shape(self) -> tuple[int, ...]:
        """Return the weight's shape, empty if it is not known."""
        shape = self.graph.shapes.get(self.node.input[1]) or ()
        return () if None in shape else tuple(size for size in shape if size is not None)

    @cached_property
    def folded_weight(self) -> bool:
        """Return whether the weight is stored in float without a DequantizeLinear."""
        stored = self.graph.stored(self.node.input[1])
        return self.weight is None and stored is not None

    @cached_property
    def stored_weight(self) -> NDArray[Any] | None:
        """Return the integers of the weight, as stored or as its QuantizeLinear makes them."""
        if self.weight is None:
            return None
        name = self.weight.node.input[0]
        made = self.graph.source(name)
        if made is None:
            return self.graph.constant(name)
        values = self.graph.constant(made.input[0]) if made.op_type == QUANTIZE else None
        return None if values is None else quantised(values, self.graph.quantiser(made))

    @cached_property
    def bias_sum(self) -> "NodeProto | None":
        """Return the Add of a constant behind a matrix product, which runtimes take for its bias."""
        if self.op != "MatMul" or len(self.graph.shapes.get(self.node.input[0], ())) != 2:
            return None
        readers = self.graph.readers(self.node.output[0])
        if len(readers) != 1 or readers[0].op_type != "Add" or self.graph.is_output(self.node.output[0]):
            return None
        others = [name for name in readers[0].input if name not in self._names_of_output]
        return readers[0] if len(others) == 1 and self._is_constant(others[0]) else None

    @cached_property
    def bias(self) -> str | None:
        """Return the name of the tensor that is added to every sum."""
        if self.bias_sum is not None:
            return next(name for name in self.bias_sum.input if name not in self._names_of_output)
        given = self.node.input[2] if self.op != "MatMul" and len(self.node.input) > 2 else ""
        return given or None

    @cached_property
    def output(self) -> Output:
        """Return the path of the output to its quantiser or its readers."""
        name = (self.bias_sum or self.node).output[0]
        clamps: list[NodeProto] = []
        moved = False
        while True:
            readers, is_output = self.graph.readers(name), self.graph.is_output(name)
            if len(readers) != 1 or is_output:
                return Output(None, tuple(clamps), tuple(readers), is_output, moved)
            [reader] = readers
            if reader.op_type == QUANTIZE:
                return Output(self.graph.quantiser(reader), tuple(clamps), (reader,), False, moved)
            first = self.graph.root(reader.input[0]) == self.graph.root(name)
            if first and reader.op_type in CLAMPS and not moved:
                clamps.append(reader)
            elif first and reader.op_type in self.moving:
                moved = True
            else:
                return Output(None, tuple(clamps), (reader,), False, moved)
            name = reader.output[0]

    @property
    def output_quantiser(self) -> Quantiser | None:
        return self.output.quantiser

    @property
    def group(self) -> int:
        return int(attribute(self.node, "group", 1))

    @cached_property
    def channel_axis(self) -> int:
        """Return the axis of the weight's output channels."""
        if self.op == "Gemm":
            return 0 if attribute(self.node, "transB", 0) else 1
        if self.op == "MatMul":
            return max(len(self.weight_shape) - 1, 0)
        return 1 if self.op == "ConvTranspose" else 0

    @property
    def weight_axis(self) -> int:
        """Return the axis of the weight's scales; ONNX's default is 1."""
        axis = 1 if self.weight is None or self.weight.axis is None else self.weight.axis
        return axis % len(self.weight_shape) if self.weight_shape else axis

    @property
    def misplaced_scales(self) -> bool:
        """Return whether the weight has several scales that are not one per output channel."""
        several = self.activation is not None and self.weight is not None and self.weight.per_channel
        return several and bool(self.weight_shape) and self.weight_axis != self.channel_axis

    @cached_property
    def _names_of_output(self) -> set[str]:
        names, waiting = set(), [self.node.output[0]]
        while waiting:
            names.add(name := waiting.pop())
            onward = self.graph.direct_readers.get(name, ())
            waiting += [node.output[0] for node in onward if node.op_type in ("Identity", "Dropout")]
        return names

    def _is_constant(self, name: str) -> bool:
        behind = self.graph.dequantiser(name)
        return self.graph.stored(behind.node.input[0] if behind else name) is not None


def quantised(values: NDArray[Any], by: Quantiser) -> NDArray[Any] | None:
    """Quantise ``values`` as QuantizeLinear is defined: y = clamp(round(x / scale) + zero point)."""
    if by.scale is None or by.dtype not in ("int8", "uint8"):
        return None
    ends = np.iinfo(by.dtype)
    shape = [1] * values.ndim
    if by.per_channel:
        shape[1 if by.axis is None else by.axis] = by.scale.size
    scale = by.scale.reshape(shape if by.per_channel else ())
    zero = np.zeros_like(by.scale) if by.zero_point is None else by.zero_point
    steps = np.rint(values / scale) + zero.reshape(np.shape(scale)).astype(np.float32)
    return np.clip(steps, ends.min, ends.max)


def node_label(node: "NodeProto") -> str:
    """Return a node's operator and name for messages; a node without a name goes by its output's."""
    return f"{node.op_type} {node.name or node.output[0]!r}"


def node_labels(nodes: Iterable["NodeProto"]) -> str:
    return ", ".join(dict.fromkeys(node_label(node) for node in nodes))


def _turned(turn: "NodeProto", axis: int, rank: int) -> int:
    order = list(attribute(turn, "perm", list(reversed(range(rank)))))
    return order.index(axis % rank) if rank else axis
