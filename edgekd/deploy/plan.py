"""The plan of a runtime's file: which nodes compute in int8, and which Q/DQ pairs they need."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgekd.deploy.qdq import (
    CLAMPS,
    WEIGHTED,
    QdqPair,
    QuantizedWeight,
    activations_of,
    before_clamp,
    constant,
    interpolates,
    layer_of,
    required,
)
from edgekd.runtime import Profile

GATES = ("Sigmoid", "HardSigmoid")


@dataclass(frozen=True)
class QdqPlan:
    """The nodes that compute in int8, and the Q/DQ pairs that are kept and dropped for them.

    ``symmetric`` says that ranges were trained with codes from -128 to 127 around 0, whatever the file's type.
    """

    int8: frozenset[ir.Node]
    kept: tuple[QdqPair, ...]
    dropped: tuple[QdqPair, ...]
    symmetric: bool


def make_plan(
    graph: ir.Graph,
    pairs: Collection[QdqPair],
    weights: Collection[QuantizedWeight],
    profile: Profile,
    keep_float: Collection[str],
) -> QdqPlan:
    """Decide for the runtime of ``profile`` which nodes compute in int8.

    Args:
        keep_float: names of nodes, and paths of layers, that stay in float; paths with all layers under them.
    """
    flow = _Flow(graph, pairs)
    quantised = {weight.layer for weight in weights}
    int8: set[ir.Node] = set()
    for node in graph:
        if node.op_type not in profile.kernels or interpolates(node) or is_kept(node, keep_float):
            continue
        if node.op_type in WEIGHTED:
            computes = node in quantised and flow.behind(required(node, 0)) is not None
        elif node.op_type in ("ReduceMean", "BatchNormalization") and not is_of_images(node):
            computes = False
        else:
            computes = flow.stays_in_int8(node, int8)
        if computes:
            int8.add(node)
    wanted = [pair for pair in pairs if flow.is_wanted(pair, int8, profile)]
    symmetric = any(pair.zero_point.dtype == np.int8 for pair in wanted)
    return QdqPlan(frozenset(int8), tuple(wanted), tuple(pair for pair in pairs if pair not in wanted), symmetric)


class _Flow:
    """The flow of activations through Q/DQ pairs and clamps."""

    def __init__(self, graph: ir.Graph, pairs: Collection[QdqPair]):
        self.by_result = {pair.result: pair for pair in pairs}
        self.by_source = {pair.source: pair for pair in pairs}
        self.depths = _depths(graph)

    def behind(self, value: ir.Value) -> QdqPair | None:
        return self.by_result.get(value)

    def origin(self, value: ir.Value) -> ir.Node | None:
        """Return the operator whose result ``value`` is, looking through Q/DQ pairs and clamps."""
        pair = self.behind(value)
        return before_clamp((pair.source if pair else value).producer())

    def stays_in_int8(self, node: ir.Node, int8: Collection[ir.Node]) -> bool:
        """Tell whether an operator without weights computes in int8: with quantised inputs from int8, and outputs."""
        inputs = activations_of(node)
        if not inputs or not all(self._arrives_rounded(value, int8) for value in inputs):
            return False
        arriving = [self.origin(value) in int8 for value in inputs]
        enough = any(arriving) if node.op_type in ("Add", "Concat") else all(arriving)
        if node.op_type in GATES and self._only_gates(node):
            return enough
        # A hard-sigmoid gets a fixed range, which only a product can take.
        return enough and node.op_type != "HardSigmoid" and self._leaves_rounded(node)

    def _only_gates(self, node: ir.Node) -> bool:
        """Tell whether the result only scales other activations, so that its range can be 0..1."""
        if node.outputs[0].is_graph_output():
            return False
        pair = self.by_source.get(node.outputs[0])
        readers = (pair.result if pair else node.outputs[0]).consumers()
        return bool(readers) and all(reader.op_type == "Mul" for reader in readers)

    def _arrives_rounded(self, value: ir.Value, int8: Collection[ir.Node]) -> bool:
        producer = value.producer()
        is_gate = producer is not None and producer in int8 and producer.op_type in GATES
        return is_gate or self.behind(value) is not None

    def _leaves_rounded(self, node: ir.Node) -> bool:
        return all(self._is_rounded(result) for result in node.outputs)

    def _is_rounded(self, result: ir.Value) -> bool:
        uses = result.consumers()
        if len(uses) == 1 and uses[0].op_type in CLAMPS and not result.is_graph_output():
            result = uses[0].outputs[0]
        # An output of the network is in float, also where others read it.
        return result in self.by_source and len(result.consumers()) == 1 and not result.is_graph_output()

    def is_wanted(self, pair: QdqPair, int8: Collection[ir.Node], profile: Profile) -> bool:
        readers = pair.result.consumers()
        if profile.quantised_outputs:
            return any(reader in int8 for reader in readers) or self.origin(pair.result) in int8
        return any(reader in int8 or self._is_identity(pair, reader, int8) for reader in readers)

    def _is_identity(self, pair: QdqPair, reader: ir.Node, int8: Collection[ir.Node]) -> bool:
        """Tell whether ``reader`` adds this activation to a convolution's output, so that the two are fused.

        The branch with fewer layers is the identity, which TensorRT's guide recommends to quantise.
        """
        if reader.op_type != "Add":
            return False
        other = next((value for value in reader.inputs if value is not None and value is not pair.result), None)
        if other is None or self.origin(other) not in int8:
            return False
        return self.depths[pair.result] < self.depths[other]


def _depths(graph: ir.Graph) -> dict[ir.Value, int]:
    """Return the largest number of layers with weights on a path from the input to each activation."""
    depths: dict[ir.Value, int] = {}
    for node in graph:
        before = max((depths.get(value, 0) for value in node.inputs if value is not None), default=0)
        depths.update(dict.fromkeys(node.outputs, before + (node.op_type in WEIGHTED)))
    return depths


def is_of_images(node: ir.Node) -> bool:
    """Tell whether the input is (N, C, H, W), and a ReduceMean is over the two last axes."""
    shape = required(node, 0).shape
    if shape is None or len(shape) != 4:
        return False
    if node.op_type != "ReduceMean":
        return True
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is None or axes.const_value is None:
        return False
    return sorted(int(axis) % 4 for axis in constant(axes)) == [2, 3]


def is_kept(node: ir.Node, keep_float: Collection[str]) -> bool:
    layer = layer_of(node)
    return any(path in ("", node.name, layer) or layer.startswith(f"{path}.") for path in keep_float)
