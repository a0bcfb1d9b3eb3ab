"""A network as a chain: what lies between two activations that everything passes through is one segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import onnx_ir as ir

from edgekd.export.deploy.places import WEIGHTED, given, layer_of, places_of

STEPS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Segment:
    """Names of nodes in order; ``width`` is the number of elements of the activation that leaves it, per sample."""

    nodes: tuple[str, ...]
    layers: tuple[str, ...]
    width: int


def segments_of(model: ir.Model) -> list[Segment]:
    """The chain of a quantised graph. A residual block is one segment, so is a layer that nothing goes around."""
    graph = model.graph
    places_of(graph)  # one DequantizeLinear each, so that a rounded activation is one
    nodes = [node for node in graph if node.op_type not in STEPS and _reads_activation(node)]
    spans = _spans(nodes, {value: index for index, node in enumerate(nodes) for value in node.outputs})
    ends = [index for index in range(len(nodes)) if not any(start < index < end for start, end in spans)]
    pieces = [nodes[start + 1 : end + 1] for start, end in pairwise([-1, *ends])]
    return _merged([piece for piece in pieces if piece])


def _reads_activation(node: ir.Node) -> bool:
    """Not a constant's own arithmetic: the steps of a weight, a shape."""
    return any(_is_activation(_before(value)) for value in node.inputs if value is not None)


def _is_activation(value: ir.Value) -> bool:
    """Whether a constant's arithmetic did not make it: neither stored, nor clipped to the codes of a weight."""
    maker = value.producer()
    before = given(maker, 0).producer() if maker is not None and maker.op_type == "Clip" else None
    if before is not None and before.op_type == "QuantizeLinear":
        return not given(before, 0).is_initializer()
    return not value.is_initializer()


def _before(value: ir.Value) -> ir.Value:
    """The float activation behind its steps."""
    node = value.producer()
    while node is not None and node.op_type in STEPS:
        value = given(node, 0)
        node = value.producer()
    return value


def _spans(nodes: Sequence[ir.Node], made: Mapping[ir.Value, int]) -> set[tuple[int, int]]:
    """From the node that makes an activation to each that reads it; the network's input is made before all."""
    sources = (
        (_before(value), reader) for reader, node in enumerate(nodes) for value in node.inputs if value is not None
    )
    return {(made.get(source, -1), reader) for source, reader in sources if _is_activation(source)}


def _merged(pieces: list[list[ir.Node]]) -> list[Segment]:
    """What follows a layer without weights of its own belongs to that layer's segment."""
    joined: list[list[ir.Node]] = []
    for piece in pieces:
        if joined and not any(node.op_type in WEIGHTED for node in piece):
            joined[-1] += piece
        else:
            joined.append(list(piece))
    return [_segment(piece) for piece in joined]


def _segment(nodes: Sequence[ir.Node]) -> Segment:
    layers = tuple(dict.fromkeys(layer_of(node) for node in nodes if node.op_type in WEIGHTED))
    return Segment(tuple(str(node.name) for node in nodes), layers, _width(nodes[-1]))


def _width(node: ir.Node) -> int:
    shape = node.outputs[0].shape
    size = 1
    for dim in list(shape)[1:] if shape is not None else ():
        size *= dim if isinstance(dim, int) else 1
    return size
