"""Matrix products in so many dimensions that OpenVINO fuses what stands behind them."""

from math import prod

import numpy as np
import onnx_ir as ir

from edgekd.deploy.plan import QdqPlan
from edgekd.deploy.qdq import QdqPair, constant, initializer, required

# What OpenVINO fuses into the product before it.
FUSED = ("Add", "Gelu", "Relu", "HardSwish", "Clip")
MOST = 3


def flatten_products(graph: ir.Graph, plan: QdqPlan) -> None:
    """Compute int8 products of more than three dimensions between reshapes to three, which move nothing.

    Where the activation has a zero point, OpenVINO 2026.4 fuses neither the bias nor the activation function behind a
    product of four dimensions, and each is a pass over the tensor; behind one of three dimensions it fuses both.
    """
    pairs = {pair.result: pair for pair in plan.kept}
    flat: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        pair = pairs.get(required(node, 0)) if node.op_type == "MatMul" and node in plan.int8 else None
        if pair is not None and pair.zero_point.any() and pair.result.consumers() == (node,):
            _flatten(graph, node, pair, flat)


def _flatten(graph: ir.Graph, product: ir.Node, pair: QdqPair, flat: dict[ir.Value, ir.Value]) -> None:
    """Flatten ``product``; ``flat`` holds what was flattened before it, by the values in all dimensions."""
    last = _last_fused(product)
    source, result = pair.source, last.outputs[0]
    if not _has_sides(source) or not _has_sides(result) or len(source.shape or ()) <= MOST:
        return
    shape = source.shape
    assert shape is not None
    flattened = flat.get(source)
    if flattened is None:
        places = prod(dim for dim in shape[1:-1] if isinstance(dim, int))
        reshape = _reshape(graph, source, [shape[0], places, shape[-1]])
        pair.quantize.prepend(reshape)
        flattened = reshape.outputs[0]
    pair.quantize.replace_input_with(0, flattened)
    back = _reshape(graph, result, list(result.shape or ()))
    last.append(back)
    result.replace_all_uses_with(back.outputs[0], replace_graph_outputs=True)
    back.replace_input_with(0, result)
    flat[back.outputs[0]] = result
    for value in _between(pair.quantize, last):
        value.shape = None


def _has_sides(value: ir.Value) -> bool:
    """Tell whether all dimensions behind the batch are known."""
    return value.shape is not None and all(isinstance(dim, int) for dim in value.shape[1:])


def _reshape(graph: ir.Graph, value: ir.Value, dims: list[int | ir.SymbolicDim]) -> ir.Node:
    # 0 keeps the batch.
    shape = initializer(graph, f"{value.name}/shape", np.array([0, *dims[1:]], np.int64))
    node = ir.node("Reshape", [value, shape], name=f"{value.name}/Reshape")
    node.outputs[0].type, node.outputs[0].shape = value.type, ir.Shape(dims)
    return node


def _last_fused(product: ir.Node) -> ir.Node:
    last = product
    while not last.outputs[0].is_graph_output() and len(readers := last.outputs[0].consumers()) == 1:
        [reader] = readers
        others = [value for value in reader.inputs if value is not None and value is not last.outputs[0]]
        if reader.op_type not in FUSED or not all(map(_is_alike_everywhere, others)):
            break
        last = reader
    return last


def _is_alike_everywhere(value: ir.Value) -> bool:
    """Tell whether ``value`` is a constant that is one for all places, and so means the same in three dimensions."""
    return value.const_value is not None and np.ndim(constant(value)) <= 1


def _between(quantize: ir.Node, last: ir.Node) -> list[ir.Value]:
    """Return the values from the Q/DQ pair to the last operator that is flattened, whose shapes change."""
    values, node = [quantize.outputs[0]], quantize
    while node is not last:
        [node] = node.outputs[0].consumers()
        values.append(node.outputs[0])
    return values
