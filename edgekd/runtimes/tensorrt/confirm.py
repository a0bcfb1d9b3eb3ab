"""Confirmation by TensorRT: its parser, and the layers of the engine that it builds."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgekd.errors import EdgekdError
from edgekd.lint.confirm import Confirmation, node_indices, with_marked_nodes

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgekd.runtimes.tensorrt import BuiltLayer

# TensorRT for RTX builds for a GPU that is not here: of its capabilities the nearest to Jetson Orin's.
AHEAD = "SM86"
PRODUCT = re.compile("conv|correlation|gemm|matmul|matrix", re.IGNORECASE)


def confirm(model: "ModelProto", target: object) -> Confirmation:
    """Parse the file and build an engine, for the GPU of this machine or ahead of time."""
    try:
        from edgekd.runtimes.tensorrt import build, current_gpu, library, parse_errors
    except ImportError as error:
        return Confirmation(reason=str(error))
    content = with_marked_nodes(model).SerializeToString()
    try:
        trt = library()
        by = f"{trt.__name__} {trt.__version__}"
        if errors := parse_errors(content):
            return Confirmation(by, refusal=_with_names(str(errors[0]), model))
    except EdgekdError as error:
        return Confirmation(reason=str(error))
    try:
        current_gpu()
        capability = None
    except EdgekdError:
        capability = AHEAD
    try:
        layers = build(content, capability).layers
    except EdgekdError as error:
        return Confirmation(f"the parser of {by}", reason=f"no engine was built: {error}")
    return Confirmation(f"{by} for {capability or 'this GPU'}", int8=_precisions(layers or {}))


def _precisions(layers: Mapping[str, "BuiltLayer"]) -> dict[int, bool]:
    """Of layers that multiply; those that only bring values to a scale are named after them too."""
    found: dict[int, bool] = {}
    for name, layer in layers.items():
        own = node_indices(name) or node_indices(layer.metadata)
        if own and PRODUCT.search(layer.kind):
            found[own[0]] = layer.precision == "int8"
    return found


def _with_names(reason: str, model: "ModelProto") -> str:
    """The file's own names in place of the marks."""
    for index in sorted(set(node_indices(reason)), reverse=True):
        node = model.graph.node[index]
        reason = reason.replace(f"edgekd_node_{index}", node.name or node.output[0])
    return reason
