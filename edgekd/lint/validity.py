"""Validation of graphs, so that rules may rely on what ONNX promises of every graph."""

import math
from typing import TYPE_CHECKING

from edgekd.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

PACKED = {"UINT4": 2, "INT4": 2, "FLOAT4E2M1": 2, "UINT2": 4, "INT2": 4}  # values in a byte


def check_graph(model: "ModelProto") -> None:
    """Raise :class:`ModelError` for a graph with a loop, a node without an input or output that its operator has, or a
    constant that holds more or fewer values than its shape says.
    """
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    made = {name for node in model.graph.node for name in node.output if name}
    before: set[str] = set()
    for node in model.graph.node:
        if late := next((name for name in node.input if name in made and name not in before), None):
            raise node_error(node, f"takes {late[:80]!r} before it is made")
        if twice := next((name for name in node.output if name in before), None):
            raise node_error(node, f"makes {twice[:80]!r} a second time")
        before.update(name for name in node.output if name)
        check_node(node, opsets.get(node.domain or "ai.onnx"))
        for attribute in node.attribute:
            if attribute.HasField("t"):
                check_constant(attribute.t)
    for tensor in model.graph.initializer:
        check_constant(tensor)


def check_node(node: "NodeProto", version: int | None) -> None:
    import onnx

    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type):
        return  # an operator that this onnx does not know: the runtime's word counts
    try:
        schema = onnx.defs.get_schema(node.op_type, version or 0, "")
    except Exception:  # a version that it does not know
        schema = onnx.defs.get_schema(node.op_type)
    if not schema.min_input <= len(node.input) <= schema.max_input:
        raise node_error(node, f"has {len(node.input)} inputs, and takes {schema.min_input} or more")
    if not schema.min_output <= len(node.output) <= schema.max_output or not node.output[0]:
        raise node_error(node, f"has {len(node.output)} outputs, and gives {schema.min_output} or more")
    needed = (each for each in list(schema.inputs)[: len(node.input)])
    for name, each in zip(node.input, needed, strict=False):
        if not name and each.option == onnx.defs.OpSchema.FormalParameterOption.Single:
            raise node_error(node, f"lacks its input {each.name!r}")


def check_constant(tensor: "TensorProto") -> None:
    from onnx import TensorProto, helper, numpy_helper

    try:
        size = math.prod(tensor.dims)
        if min(tensor.dims, default=0) < 0:
            raise ValueError("a negative size")
        if tensor.HasField("raw_data"):
            name, itemsize = TensorProto.DataType.Name(tensor.data_type), 0
            if name not in PACKED:
                itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            wanted = -(-size // PACKED[name]) if name in PACKED else size * itemsize
            if len(tensor.raw_data) != wanted:
                raise ValueError(f"{len(tensor.raw_data)} bytes for {size} values")
        elif tensor.data_location != TensorProto.EXTERNAL:
            numpy_helper.to_array(tensor)
    except Exception as error:  # what onnx raises has no common class
        about = f"{tensor.name[:80]!r} of shape {list(tensor.dims)[:8]}"
        raise ModelError(f"the constant {about} is damaged ({error}); export the file again") from error


def node_error(node: "NodeProto", what: str) -> ModelError:
    name = node.name or ", ".join(node.output)
    return ModelError(f"the node {name[:80]!r} ({node.op_type[:40]}) {what}; export the file again")
