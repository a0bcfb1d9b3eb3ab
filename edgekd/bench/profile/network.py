"""ONNX graphs that the steps of a profile are joined to, and the names of their layers."""

import ast
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.bench.profile.trace import is_weighted
from edgekd.onnx_graph import OnnxGraph

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

SCOPES = "pkg.torch.onnx.name_scopes"
PASSING = {"DequantizeLinear", "QuantizeLinear", "Identity", "Cast", "Transpose", "Reshape"}
PARAMETER = re.compile(r"(\.|_|/)(weight|bias|kernel)(_quantized|_scale|_zero_point|_bias|_int32|_int8|_float)*$")


class TensorGraph(OnnxGraph):
    """An ONNX file's graph, in which a layer's weight is found."""

    def __init__(self, path: Path):
        import onnx

        super().__init__(onnx.load(path, load_external_data=False).graph)

    @cached_property
    def by_name(self) -> dict[str, "NodeProto"]:
        """Return each node under its name and under those of its outputs."""
        return {**self.producer, **{node.name: node for node in self.nodes if node.name}}

    def constant(self, name: str) -> "TensorProto | None":
        """Return the stored tensor behind ``name``, looking through quantising and transposing nodes."""
        return self.constant_behind(name, PASSING)

    def weight_shape(self, node: "NodeProto") -> tuple[int, ...] | None:
        """Return the shape of a layer's weight as stored, or None for a product of two activations."""
        place = 3 if node.op_type.startswith("QLinear") or node.op_type == "QGemm" else 1
        stored = self.constant(node.input[place]) if len(node.input) > place else None
        return tuple(stored.dims) if stored is not None else None


class Network(TensorGraph):
    """The ONNX file as it was given: the layers that a profile is joined to."""

    def label(self, node: "NodeProto") -> str | None:
        """Return the module's path if the file has it: from the weights' names, or from the exporter's metadata."""
        if is_weighted(node.op_type):
            stored = (self.constant(name) for name in node.input[1:])
            names = [
                PARAMETER.sub("", each.name) for each in stored if each is not None and PARAMETER.search(each.name)
            ]
            if names:
                return names[0]
        scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), None)
        if scopes and (path := ast.literal_eval(scopes)[-2:-1]) and path[0]:
            return str(path[0])
        return module_path(node.name) if node.name.startswith("/") else None


def module_path(name: str) -> str:
    """Return ``layer1.0.conv1`` for ``/layer1/layer1.0/conv1/Conv``, as PyTorch's older exporter writes it."""
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        if path and part.startswith(path[-1] + "."):
            path.pop()
        path.append(part)
    return ".".join(path)
