"""The plan of a file for OpenVINO: which nodes compute in int8, and which Q/DQ pairs they need.

OpenVINO fuses an activation function, a sum and the rounding of their result into the layer before them, and runs
layers in int8 whose outputs stay in float. So only inputs of what computes in int8 need a Q/DQ pair: one before an
activation function costs a pass over the tensor. An operator that moves values keeps their codes, and a second
pair behind it is a pass too.
"""

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from edgekd.deploy.plan import QdqPlan, is_kept, is_of_images
from edgekd.deploy.qdq import CLAMPS, WEIGHTED, QdqPair, QuantizedWeight, activations_of, interpolates, required
from edgekd.runtime import Profile

MOVING = ("MaxPool", "Concat", "Split", "Flatten", "Reshape", "Transpose", "Squeeze")
ROUNDED = ("Add", "BatchNormalization")


def make_plan(
    graph: ir.Graph,
    pairs: Collection[QdqPair],
    weights: Collection[QuantizedWeight],
    profile: Profile,
    keep_float: Collection[str],
) -> QdqPlan:
    """Decide which nodes compute in int8, as :func:`edgekd.deploy.plan.make_plan` does for other runtimes."""
    flow = CodeFlow(pairs)
    quantised = {weight.layer: weight for weight in weights}
    int8: set[ir.Node] = set()
    for node in graph:
        has_kernel = node.op_type in profile.kernels and not interpolates(node) and not is_kept(node, keep_float)
        if has_kernel and flow.computes(node, quantised):
            int8.add(node)
            if node.op_type in MOVING:
                flow.pass_through(node)
    _leave_out_idle(graph, flow, int8)
    wanted = tuple(pair for pair in pairs if flow.is_wanted(pair, int8))
    symmetric = any(pair.zero_point.dtype == np.int8 for pair in wanted)
    return QdqPlan(frozenset(int8), wanted, tuple(pair for pair in pairs if pair not in wanted), symmetric)


class CodeFlow:
    """The 8-bit codes of a graph: the pair whose scale and zero point the values of a tensor have."""

    def __init__(self, pairs: Collection[QdqPair]):
        self.quantizers = {pair.quantize: pair for pair in pairs}
        self.codes = {pair.result: pair for pair in pairs}

    def computes(self, node: ir.Node, quantised: Mapping[ir.Node, QuantizedWeight]) -> bool:
        """Tell whether an operator with a kernel has the inputs that the kernel needs."""
        if node.op_type in WEIGHTED:
            given = self.codes.get(required(node, 0))
            # The kernel of transposed convolutions has no zero points.
            return node in quantised and given is not None and (node.op_type != "ConvTranspose" or _is_centred(given))
        if node.op_type in ("ReduceMean", "BatchNormalization") and not is_of_images(node):
            return False
        given_pairs = [self.codes.get(value) for value in activations_of(node)]
        if not given_pairs or None in given_pairs:
            return False
        if node.op_type in ROUNDED:
            return self._is_rounded(node.outputs[0])
        return node.op_type not in MOVING or _is_one_grid([pair for pair in given_pairs if pair is not None])

    def pass_through(self, node: ir.Node) -> None:
        """Note that the outputs of a moving operator have the codes of its inputs."""
        pair = self.codes[activations_of(node)[0]]
        for value in node.outputs:
            self.codes.setdefault(value, pair)

    def readers(self, value: ir.Value) -> list[ir.Node]:
        """Return the readers of ``value``, those behind a pair instead of the pair."""
        found: list[ir.Node] = []
        for node in value.consumers():
            pair = self.quantizers.get(node)
            found += [node] if pair is None else self.readers(pair.result)
        return found

    def is_wanted(self, pair: QdqPair, int8: Collection[ir.Node]) -> bool:
        """Tell whether an int8 operator reads the pair, and its codes are not there already."""
        before = self.codes.get(pair.source)
        if before is not None and _is_one_grid([before, pair]):
            return False
        return any(reader in int8 for reader in self.readers(pair.result))

    def _is_rounded(self, result: ir.Value) -> bool:
        uses = result.consumers()
        if len(uses) == 1 and uses[0].op_type in CLAMPS:
            result = uses[0].outputs[0]
        return any(node in self.quantizers for node in result.consumers())


def _leave_out_idle(graph: ir.Graph, flow: CodeFlow, int8: set[ir.Node]) -> None:
    """Leave out operators that move codes to nothing that computes in int8, such as before a LayerNorm."""
    for node in reversed(graph):
        if node in int8 and node.op_type in MOVING:
            readers = (reader for value in node.outputs for reader in flow.readers(value))
            if not any(reader in int8 for reader in readers):
                int8.discard(node)


def _is_one_grid(pairs: Collection[QdqPair]) -> bool:
    return len({(float(pair.scale), int(pair.zero_point), pair.zero_point.dtype.name) for pair in pairs}) == 1


def _is_centred(pair: QdqPair) -> bool:
    return not pair.zero_point.any()
