"""The graph that OpenVINO executes: its nodes in order, with their kernels, precisions and the nodes of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# The names of ONNX for what OpenVINO calls otherwise.
OPERATORS = {
    "Convolution": "Conv",
    "Deconvolution": "ConvTranspose",
    "FullyConnected": "MatMul",
    "Concatenation": "Concat",
    "Interpolate": "Resize",
}
TYPES = {"f32": "float", "f16": "float16", "bf16": "bfloat16", "u8": "uint8", "i8": "int8", "i32": "int32"}
INTEGER = ("u8", "i8")
# What computes in float between codes: generated code of several operators, and what makes codes of values.
CONVERTING = ("Subgraph", "Eltwise", "FakeQuantize", "MVN", "Math", "Convert")
NOT_EXECUTED = ("Input", "Output", "Const", "Parameter", "Result", "Constant")
# What OpenVINO appends to the name of a node when it takes the node apart.
PART = re.compile(r"(/WithoutBiases|_original|/Dequantization\w+)$")


@dataclass(frozen=True)
class ExecutedNode:
    """A node of the executed graph.

    ``origins`` are names of nodes of the file, or of their outputs, that it computes; the first gave it its name.
    ``inputs`` and ``outputs`` are types and shapes.
    """

    name: str
    op: str
    kernel: str
    precision: str
    origins: tuple[str, ...]
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def is_int8(self) -> bool:
        """Tell whether it computes on 8-bit codes."""
        return self.precision in INTEGER and self.op not in CONVERTING


def executed_nodes(compiled: Any) -> list[ExecutedNode]:
    """Return the nodes of a compiled model in the order in which they run, without constants."""
    return list(_nodes(compiled.get_runtime_model()))


def _nodes(model: Any) -> Iterator[ExecutedNode]:
    for node in model.get_ordered_ops():
        facts = node.get_rt_info()
        kind = _text(facts, "layerType")
        if kind in NOT_EXECUTED:
            continue
        yield ExecutedNode(
            node.get_friendly_name(),
            OPERATORS.get(kind, kind),
            _text(facts, "primitiveType"),
            _text(facts, "runtimePrecision"),
            tuple(dict.fromkeys(origin(name) for name in _text(facts, "originalLayersNames").split(",") if name)),
            tuple(_typed(port) for port in node.inputs()),
            tuple(_typed(port) for port in node.outputs()),
        )


def origin(name: str) -> str:
    """Return the name in the file, without what OpenVINO appended to it."""
    while PART.search(name):
        name = PART.sub("", name)
    return name


def _text(facts: Any, name: str) -> str:
    return str(facts[name].astype(str)) if name in facts else ""


def _typed(port: Any) -> tuple[str, tuple[int, ...]]:
    dtype = port.get_element_type().get_type_name()
    shape = port.get_partial_shape()
    return TYPES.get(dtype, dtype), tuple(dim.get_length() if dim.is_static else 0 for dim in shape)
