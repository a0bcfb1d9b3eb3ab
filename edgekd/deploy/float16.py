"""float16 types and weights inside, float32 inputs and outputs, for runtimes that compute in the graph's types."""

import numpy as np
import onnx_ir as ir
from onnx import ModelProto

from edgekd.deploy.qdq import constant
from edgekd.errors import ExportError

# Inputs that ONNX defines as float32 whatever the data: sizes, not values.
KEPT_FLOAT32 = {("Resize", 1), ("Resize", 2)}


def half(model: ModelProto) -> ModelProto:
    """Return a copy of ``model`` with float16 inside, of half the size.

    Raises:
        ExportError: a weight does not fit into float16.
    """
    inside = ir.from_proto(model)
    to_float16(inside.graph)
    return ir.to_proto(inside)


def to_float16(graph: ir.Graph) -> None:
    """Convert ``graph`` to float16 in place; its inputs and outputs stay float32.

    Raises:
        ExportError: a constant does not fit into float16.
    """
    floats = [value.dtype in (ir.DataType.FLOAT, None) for value in graph.outputs]
    for value in list(graph.initializers.values()):
        if value.dtype == ir.DataType.FLOAT and not _is_kept(value):
            value.const_value = ir.tensor(_half(value), name=value.name)
            value.type = ir.TensorType(ir.DataType.FLOAT16)
    for node in graph:
        _retype(node)
    for value in graph.inputs:
        if value.dtype == ir.DataType.FLOAT:
            _cast_input(graph, value)
    for index, value in enumerate(list(graph.outputs)):
        if floats[index]:
            _cast_output(graph, index, value)


def _is_kept(value: ir.Value) -> bool:
    uses = value.uses()
    return bool(uses) and all((use.node.op_type, use.idx) in KEPT_FLOAT32 for use in uses)


def _half(value: ir.Value) -> np.ndarray:
    array = constant(value)
    largest = np.abs(array[np.isfinite(array)]).max(initial=0)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if (np.isfinite(array) & ~np.isfinite(half)).any():
        raise ExportError(
            f"{value.name} holds {largest:g}, and float16 ends at 65504: keep this network in float32, "
            "or equalise its layers (quantize with equalize: true)"
        )
    return half


def _retype(node: ir.Node) -> None:
    """Convert the types that the node declares, and those inferred before."""
    if node.op_type == "Cast" and node.attributes.get_int("to") == ir.DataType.FLOAT:
        node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.FLOAT16))
    for value in node.outputs:
        if value.dtype == ir.DataType.FLOAT:
            value.type = ir.TensorType(ir.DataType.FLOAT16)


def _cast_input(graph: ir.Graph, value: ir.Value) -> None:
    cast = ir.node("Cast", [value], {"to": int(ir.DataType.FLOAT16)}, name=f"{value.name}/Cast")
    cast.outputs[0].name = f"{value.name}_float16"
    value.replace_all_uses_with(cast.outputs[0])
    cast.replace_input_with(0, value)
    graph.insert_before(graph[0], cast)


def _cast_output(graph: ir.Graph, index: int, value: ir.Value) -> None:
    name = value.name
    cast = ir.node("Cast", [value], {"to": int(ir.DataType.FLOAT)}, name=f"{name}/Cast")
    value.name, cast.outputs[0].name = f"{name}_float16", name
    cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), value.shape
    value.type = ir.TensorType(ir.DataType.FLOAT16)
    graph.append(cast)
    graph.outputs[index] = cast.outputs[0]
