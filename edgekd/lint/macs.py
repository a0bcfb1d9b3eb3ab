"""Multiply-accumulates of one sample, from the shapes in the file."""

from math import prod
from typing import TYPE_CHECKING

from edgekd.lint.graph import LintGraph, attribute

if TYPE_CHECKING:
    from onnx import NodeProto


def macs_of(node: "NodeProto", graph: LintGraph) -> int | None:
    """Return the multiply-accumulates of a weighted layer, or None if a shape is open.

    An open first dimension is the batch, of which one sample is counted.
    """
    into, out = sample(graph, node.input[0]), sample(graph, node.output[0])
    weight = graph.shapes.get(node.input[1])
    if into is None or out is None:
        return None
    if node.op_type in ("MatMul", "Gemm"):
        return prod(out) * (into[-2] if attribute(node, "transA", 0) else into[-1])
    if weight is None or None in weight:
        return None
    # Of a transposed convolution each input value meets every weight of its channel.
    values = into if node.op_type == "ConvTranspose" else out
    return prod(values) * prod(size or 0 for size in weight[1:])


def sample(graph: LintGraph, name: str) -> tuple[int, ...] | None:
    shape = graph.shapes.get(name)
    if not shape:
        return None
    known = (1 if shape[0] is None else shape[0], *shape[1:])
    return None if None in known else tuple(size for size in known if size is not None)
