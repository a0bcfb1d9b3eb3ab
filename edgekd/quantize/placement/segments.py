"""A network as a chain of segments, and their fastest placement in int8 or float.

A segment lies between two activations that every path from input to output passes through. Changes between int8 and
float cost time at the ends of segments only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import onnx_ir as ir

from edgekd.deploy.qdq import WEIGHTED, layer_of, qdq_pairs, required

STEPS = ("QuantizeLinear", "DequantizeLinear")
INT8, FLOAT = 0, 1


@dataclass(frozen=True)
class Segment:
    """A segment of a network.

    Attributes:
        nodes: names of its nodes, in order.
        layers: paths of its layers with weights.
        width: elements of its output, for one sample.
    """

    nodes: tuple[str, ...]
    layers: tuple[str, ...]
    width: int


def segments_of(model: ir.Model) -> list[Segment]:
    """Split a quantised graph into segments, such as a residual block, or a layer without a bypass."""
    graph = model.graph
    qdq_pairs(graph)  # leaves one DequantizeLinear each, so that a quantised activation is one value
    nodes = [node for node in graph if node.op_type not in STEPS and _reads_activation(node)]
    spans = _spans(nodes, {value: index for index, node in enumerate(nodes) for value in node.outputs})
    ends = [index for index in range(len(nodes)) if not any(start < index < end for start, end in spans)]
    pieces = [nodes[start + 1 : end + 1] for start, end in pairwise([-1, *ends])]
    return _merged([piece for piece in pieces if piece])


def _reads_activation(node: ir.Node) -> bool:
    """Tell whether ``node`` is not arithmetic on constants, such as the Q/DQ steps of a weight, or a shape."""
    return any(_is_activation(_before(value)) for value in node.inputs if value is not None)


def _is_activation(value: ir.Value) -> bool:
    """Tell whether ``value`` is neither stored nor the clipped codes of a weight."""
    maker = value.producer()
    before = required(maker, 0).producer() if maker is not None and maker.op_type == "Clip" else None
    if before is not None and before.op_type == "QuantizeLinear":
        return not required(before, 0).is_initializer()
    return not value.is_initializer()


def _before(value: ir.Value) -> ir.Value:
    """Return the float activation before Q/DQ steps."""
    node = value.producer()
    while node is not None and node.op_type in STEPS:
        value = required(node, 0)
        node = value.producer()
    return value


def _spans(nodes: Sequence[ir.Node], made: Mapping[ir.Value, int]) -> set[tuple[int, int]]:
    """Return (producer, reader) of each activation, by the indices of nodes; -1 for the network's input."""
    sources = (
        (_before(value), reader) for reader, node in enumerate(nodes) for value in node.inputs if value is not None
    )
    return {(made.get(source, -1), reader) for source, reader in sources if _is_activation(source)}


def _merged(pieces: list[list[ir.Node]]) -> list[Segment]:
    """Merge pieces without weights into the segment before them."""
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


@dataclass(frozen=True)
class Costs:
    """Milliseconds of each segment in int8 and in float, and of converting its output between the two."""

    int8: Sequence[float]
    float32: Sequence[float]
    change: Sequence[float]


def cheapest(costs: Costs) -> list[bool]:
    """Return for each segment whether it is in float in the fastest placement, by dynamic programming.

    Exact for these costs, in time linear in the number of segments. The two ends of the chain are free.
    """
    own = (costs.int8, costs.float32)
    # best[state]: the time so far with the last segment in ``state``, and the states up to it
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for index in range(len(costs.int8)):
        best = [
            min(
                (spent + _conversion(costs, states, state, index) + own[state][index], [*states, state])
                for spent, states in best
            )
            for state in (INT8, FLOAT)
        ]
    _, states = min(best)
    return [state == FLOAT for state in states]


def _conversion(costs: Costs, states: list[int], state: int, index: int) -> float:
    before = states[-1] if states else FLOAT
    return costs.change[index - 1] if index and before != state else 0.0
