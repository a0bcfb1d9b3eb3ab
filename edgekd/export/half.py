"""A float network in half precision: float16 types and weights, float32 at the edges."""

import onnx_ir as ir
from onnx import ModelProto

from edgekd.export.deploy.float16 import to_float16


def half(model: ModelProto) -> ModelProto:
    """``model`` with float16 inside; a copy of half the size, for runtimes that compute in the types of the graph.

    Raises:
        ExportError: a weight does not fit into float16.
    """
    inside = ir.from_proto(model)
    to_float16(inside.graph)
    return ir.to_proto(inside)
