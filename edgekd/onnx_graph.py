"""ONNX graphs: makers, readers and constants of tensors."""

from collections import defaultdict
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto


class OnnxGraph:
    """The nodes of ``graph``, without those in subgraphs of If and Loop; tensors are addressed by name.

    Constants are initialisers and the values of Constant nodes.
    """

    def __init__(self, graph: "GraphProto"):
        self.nodes: tuple[NodeProto, ...] = tuple(graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.constants.update((node.output[0], each.t) for each in node.attribute if each.name == "value")

    @cached_property
    def direct_readers(self) -> "defaultdict[str, list[NodeProto]]":
        """Return the nodes that read each tensor, once for each time they do."""
        found: defaultdict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                found[name].append(node)
        return found

    def constant_behind(self, name: str, passing: Collection[str]) -> "TensorProto | None":
        """Return the constant that a tensor is made of by operators in ``passing`` alone, each by its first input."""
        while name not in self.constants:
            node = self.producer.get(name)
            if node is None or node.op_type not in passing:
                return None
            name = node.input[0]
        return self.constants[name]
