"""The regions of a network, each of which is in int8 or in float as a whole.

A region is a layer, or what lies between an activation and the place where its branches meet again: a residual block, a
gate. Branches that upsample, such as the skips of a decoder and what runs under them, are divided into their layers.
So are branches that never meet, such as heads.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import onnx_ir as ir

from edgekd.deploy.qdq import WEIGHTED, layer_of, qdq_pairs, required

STEPS = ("QuantizeLinear", "DequantizeLinear")
UPSAMPLING = ("Resize", "ConvTranspose", "DepthToSpace")
INPUT = -1  # in the place of a node's index
Readers = Mapping[int, Collection[int]]


@dataclass(frozen=True)
class Region:
    """A part of a network.

    Attributes:
        nodes: names of its nodes, in order.
        layers: paths of its layers with weights.
    """

    nodes: tuple[str, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Boundary:
    """An activation that passes from one region to others, which are given by their indices.

    Attributes:
        maker: the region that computes it.
        readers: the others that read it.
        width: its elements, for one sample.
    """

    maker: int
    readers: tuple[int, ...]
    width: int


@dataclass(frozen=True)
class Partition:
    """All regions of a network, and what passes between them."""

    regions: tuple[Region, ...]
    boundaries: tuple[Boundary, ...]


def partition(model: ir.Model) -> Partition:
    """Divide a quantised graph into regions, in the order of their first nodes."""
    graph = model.graph
    qdq_pairs(graph)  # leaves one DequantizeLinear each, so that a quantised activation is one value
    activations = _activations(graph)
    nodes = [node for node in graph if node.op_type not in STEPS and node.outputs[0] in activations]
    made = {value: index for index, node in enumerate(nodes) for value in node.outputs}
    readers = _readers(nodes, activations)
    groups = _Groups(len(nodes))
    for together in (*_blocks(nodes, made, readers), *_sharing(nodes)):
        groups.merge(together)
    _follow(groups, nodes, made, readers)
    found = groups.all()
    regions = tuple(_region([nodes[index] for index in sorted(group)]) for group in found)
    home = {index: region for region, group in enumerate(found) for index in group}
    return Partition(regions, tuple(_boundaries(home, made, readers)))


def _activations(graph: ir.Graph) -> set[ir.Value]:
    """Return what is computed from the values of the network's inputs, and not from their shapes alone."""
    found = {value for value in graph.inputs if not value.is_initializer()}
    for node in graph:
        if node.op_type != "Shape" and any(value in found for value in node.inputs):
            found.update(node.outputs)
    return found


def _before(value: ir.Value) -> ir.Value:
    """Return the float activation before Q/DQ steps."""
    node = value.producer()
    while node is not None and node.op_type in STEPS:
        value = required(node, 0)
        node = value.producer()
    return value


def _readers(nodes: Sequence[ir.Node], activations: Collection[ir.Value]) -> dict[ir.Value, set[int]]:
    """Return the indices of the nodes that read each activation."""
    readers: dict[ir.Value, set[int]] = defaultdict(set)
    for index, node in enumerate(nodes):
        for value in node.inputs:
            if value is not None and value in activations:
                readers[_before(value)].add(index)
    return readers


class _Groups:
    """Groups of nodes, at first one for each."""

    def __init__(self, count: int):
        self.of = [{index} for index in range(count)]

    def merge(self, indices: Collection[int]) -> None:
        groups = {id(group): group for group in (self.of[index] for index in indices)}
        merged: set[int] = set().union(*groups.values())
        if len(groups) > 1:
            for index in merged:
                self.of[index] = merged

    def all(self) -> list[set[int]]:
        return sorted({id(group): group for group in self.of}.values(), key=min)


def _blocks(
    nodes: Sequence[ir.Node], made: Mapping[ir.Value, int], readers: Mapping[ir.Value, set[int]]
) -> Iterator[set[int]]:
    """Yield for any two readers of an activation the nodes up to the one where all paths from both meet."""
    after: dict[int, set[int]] = defaultdict(set)
    for value, found in readers.items():
        after[made.get(value, INPUT)] |= found
    joins = _joins(after, len(nodes))
    pairs = {pair for found in after.values() for pair in combinations(sorted(found), 2)}
    for pair in sorted(pairs):
        end = _meeting(joins, *pair)
        if end < len(nodes):
            block = _until(end, pair, after)
            if not any(nodes[index].op_type in UPSAMPLING for index in block):
                yield block


def _joins(after: Readers, count: int) -> list[int]:
    """Return for each node the first that all paths from it pass through, its immediate post-dominator.

    ``count`` is the end, behind all outputs. An output that is read as well ends no path.
    """
    joins = [count] * (count + 1)
    for index in reversed(range(count)):
        if index in after:
            joins[index] = reduce(lambda one, other: _meeting(joins, one, other), after[index])
    return joins


def _meeting(joins: Sequence[int], one: int, other: int) -> int:
    """Return the first node that all paths from both pass through; indices grow along paths."""
    while one != other:
        one, other = joins[min(one, other)], max(one, other)
    return one


def _until(end: int, starts: Collection[int], after: Readers) -> set[int]:
    """Return the nodes on all paths from ``starts`` to ``end``, with these."""
    found, waiting = {end}, list(starts)
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += after[index]
    return found


def _sharing(nodes: Sequence[ir.Node]) -> Collection[set[int]]:
    """Return the nodes of each weight: where heads share one, its layer is in int8 or in float for all of them."""
    by_weight: dict[ir.Value, set[int]] = defaultdict(set)
    for index, node in enumerate(nodes):
        if node.op_type in WEIGHTED and (weight := _weight(node)).is_initializer():
            by_weight[weight].add(index)
    return by_weight.values()


def _weight(layer: ir.Node) -> ir.Value:
    """Return the second operand of ``layer`` before Q/DQ steps and changes of its layout."""
    value = required(layer, 1)
    while (node := value.producer()) is not None and node.op_type in (*STEPS, "Clip", "Transpose"):
        value = required(node, 0)
    return value


def _follow(
    groups: _Groups,
    nodes: Sequence[ir.Node],
    made: Mapping[ir.Value, int],
    readers: Mapping[ir.Value, set[int]],
) -> None:
    """Merge groups without weights into the one whose result they read last."""
    before: dict[int, set[int]] = defaultdict(set)
    for value, found in readers.items():
        if value in made:
            for index in found:
                before[index].add(made[value])
    for group in groups.all():
        sources = {source for index in group for source in before[index]} - group
        if sources and not any(nodes[index].op_type in WEIGHTED for index in group):
            groups.merge({*group, max(sources)})


def _region(nodes: Sequence[ir.Node]) -> Region:
    layers = tuple(dict.fromkeys(layer_of(node) for node in nodes if node.op_type in WEIGHTED))
    return Region(tuple(str(node.name) for node in nodes), layers)


def _boundaries(
    home: Mapping[int, int], made: Mapping[ir.Value, int], readers: Mapping[ir.Value, set[int]]
) -> Iterator[Boundary]:
    for value, found in readers.items():
        if value in made:
            maker = home[made[value]]
            others = {home[index] for index in found} - {maker}
            if others:
                yield Boundary(maker, tuple(sorted(others)), _width(value))


def _width(value: ir.Value) -> int:
    size = 1
    for dim in list(value.shape)[1:] if value.shape is not None else ():
        size *= dim if isinstance(dim, int) else 1
    return size
