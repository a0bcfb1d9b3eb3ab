"""ONNX graphs: makers, readers and constants of tensors."""

from collections import defaultdict
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

# Attributes of Constant nodes that hold numbers.
NUMBERS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


class OnnxGraph:
    """The nodes of ``graph``, without those in subgraphs of If and Loop; tensors are addressed by name.

    Constants are initialisers, and tensors and numbers of Constant nodes.
    """

    def __init__(self, graph: "GraphProto"):
        self.nodes: tuple[NodeProto, ...] = tuple(graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                found = (tensor_in(each) for each in node.attribute)
                self.constants.update((node.output[0], tensor) for tensor in found if tensor is not None)

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


def tensor_in(attribute: "AttributeProto") -> "TensorProto | None":
    """Return the tensor that an attribute of a Constant node gives, or None for text and sparse values."""
    from onnx import helper, numpy_helper

    if attribute.name == "value":
        return attribute.t
    if attribute.name not in NUMBERS:
        return None
    return numpy_helper.from_array(np.array(helper.get_attribute_value(attribute), NUMBERS[attribute.name]))
