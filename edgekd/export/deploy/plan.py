"""Which nodes of a quantised graph compute in int8 on a runtime, and which activations are rounded for them."""

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from edgekd.export.deploy.places import CLAMPS, WEIGHTED, QdqPair, Weight, before_clamp, constant, given, layer_of
from edgekd.export.profile import Profile

GATES = ("Sigmoid", "HardSigmoid")


@dataclass(frozen=True)
class QdqPlan:
    int8: frozenset[ir.Node]
    kept: tuple[QdqPair, ...]
    dropped: tuple[QdqPair, ...]


def make_plan(
    graph: ir.Graph,
    places: Collection[QdqPair],
    weights: Collection[Weight],
    profile: Profile,
    keep_float: Collection[str],
) -> QdqPlan:
    """``keep_float`` holds names of nodes, and paths of layers that stay in float with all that is under them."""
    flow = _Flow(graph, places)
    quantised = {weight.layer for weight in weights}
    int8: set[ir.Node] = set()
    for node in graph:
        if node.op_type not in profile.kernels or _is_kept(node, keep_float):
            continue
        if node.op_type in WEIGHTED:
            computes = node in quantised and flow.behind(given(node, 0)) is not None
        elif node.op_type in ("ReduceMean", "BatchNormalization") and not _is_of_images(node):
            computes = False
        else:
            computes = flow.stays_in_int8(node, int8)
        if computes:
            int8.add(node)
    wanted = [place for place in places if flow.is_wanted(place, int8, profile)]
    return QdqPlan(frozenset(int8), tuple(wanted), tuple(place for place in places if place not in wanted))


class _Flow:
    """How activations run through places and clamps."""

    def __init__(self, graph: ir.Graph, places: Collection[QdqPair]):
        self.by_result = {place.result: place for place in places}
        self.by_source = {place.source: place for place in places}
        self.depths = _depths(graph)

    def behind(self, value: ir.Value) -> QdqPair | None:
        return self.by_result.get(value)

    def origin(self, value: ir.Value) -> ir.Node | None:
        """The operator whose result, rounded and clamped, ``value`` is."""
        place = self.behind(value)
        return before_clamp((place.source if place else value).producer())

    def stays_in_int8(self, node: ir.Node, int8: Collection[ir.Node]) -> bool:
        """For what has no weights: int8 where it comes in int8 and is rounded after, so that it is no island."""
        inputs = [value for value in node.inputs if value is not None and not value.is_initializer()]
        if not inputs or not all(self._arrives_rounded(value, int8) for value in inputs):
            return False
        arriving = [self.origin(value) in int8 for value in inputs]
        enough = any(arriving) if node.op_type in ("Add", "Concat") else all(arriving)
        if node.op_type in GATES and self._only_gates(node):
            return enough
        # A hard-sigmoid gets a fixed range, which only a product takes.
        return enough and node.op_type != "HardSigmoid" and self._leaves_rounded(node)

    def _only_gates(self, node: ir.Node) -> bool:
        """Whether the result only scales another activation, so that it can be rounded over 0..1."""
        place = self.by_source.get(node.outputs[0])
        readers = (place.result if place else node.outputs[0]).consumers()
        return bool(readers) and all(reader.op_type == "Mul" for reader in readers)

    def _arrives_rounded(self, value: ir.Value, int8: Collection[ir.Node]) -> bool:
        producer = value.producer()
        is_gate = producer is not None and producer in int8 and producer.op_type in GATES
        return is_gate or self.behind(value) is not None

    def _leaves_rounded(self, node: ir.Node) -> bool:
        return all(self._is_rounded(result) for result in node.outputs)

    def _is_rounded(self, result: ir.Value) -> bool:
        uses = result.consumers()
        if len(uses) == 1 and uses[0].op_type in CLAMPS:
            result = uses[0].outputs[0]
        return result in self.by_source and len(result.consumers()) == 1

    def is_wanted(self, place: QdqPair, int8: Collection[ir.Node], profile: Profile) -> bool:
        readers = place.result.consumers()
        if profile.quantised_outputs:
            return any(reader in int8 for reader in readers) or self.origin(place.result) in int8
        return any(reader in int8 or self._is_identity(place, reader, int8) for reader in readers)

    def _is_identity(self, place: QdqPair, reader: ir.Node, int8: Collection[ir.Node]) -> bool:
        """Whether ``reader`` adds to this activation what a convolution gives, which then writes the sum itself.

        Of two branches the one with fewer layers behind it is the identity, as TensorRT's guide wants it rounded.
        """
        if reader.op_type != "Add":
            return False
        other = next((value for value in reader.inputs if value is not None and value is not place.result), None)
        if other is None or self.origin(other) not in int8:
            return False
        return self.depths[place.result] < self.depths[other]


def _depths(graph: ir.Graph) -> dict[ir.Value, int]:
    """The most layers with weights on any way from the input to each activation."""
    depths: dict[ir.Value, int] = {}
    for node in graph:
        before = max((depths.get(value, 0) for value in node.inputs if value is not None), default=0)
        depths.update(dict.fromkeys(node.outputs, before + (node.op_type in WEIGHTED)))
    return depths


def _is_of_images(node: ir.Node) -> bool:
    """Of (N, C, H, W), where a ReduceMean must be over the two last axes."""
    shape = given(node, 0).shape
    if shape is None or len(shape) != 4:
        return False
    if node.op_type != "ReduceMean":
        return True
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is None or axes.const_value is None:
        return False
    return sorted(int(axis) % 4 for axis in constant(axes)) == [2, 3]


def _is_kept(node: ir.Node, keep_float: Collection[str]) -> bool:
    layer = layer_of(node)
    return any(path in ("", node.name, layer) or layer.startswith(f"{path}.") for path in keep_float)
