"""Steps of ONNX Runtime's optimised graph, joined to the layers of the network that it was made from.

ONNX Runtime fuses, renames and lays out anew. What survives of a layer is one of: an initialiser that only it
reads, the name of its last output, or its own name with something behind it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgekd.bench.profile.network import PASSING, Network, TensorGraph
from edgekd.bench.profile.trace import KernelRun, family, is_weighted

if TYPE_CHECKING:
    from onnx import NodeProto

FUSED = 8  # nodes to look at on the way up from the end of a fused chain to its layer


class UnfusedNetwork(Network):
    """The ONNX file as it was given, with the layers that nodes of ONNX Runtime were made from."""

    def origin(self, made: "NodeProto", runtime: TensorGraph) -> "NodeProto | None":
        """Return the layer that the runtime's node ``made`` computes, the weighted one where several are fused."""
        if not is_weighted(made.op_type):
            return next((found for found in self.traces(made) if family(found.op_type) == family(made.op_type)), None)
        traces = list(self.traces(made))
        layers = (found for trace in traces for found in self.weighted(trace, made, runtime))
        # A normalisation that could not be folded is computed as a convolution too.
        norms = (trace for trace in traces if trace.op_type == "BatchNormalization")
        return next(layers, next(norms, None))

    def traces(self, made: "NodeProto") -> Iterator["NodeProto"]:
        if is_weighted(made.op_type):
            for name in made.input:
                if name in self.constants:
                    yield from self.only_layer_of(name)
        yield from (self.producer[name] for name in made.output if name in self.producer)
        words = made.name.removeprefix("fused ")
        while words:
            if words in self.by_name:
                yield self.by_name[words]
            words = words[: max(words.rfind(mark) for mark in "_/ ")] if re.search("[_/ ]", words) else ""

    def only_layer_of(self, constant: str) -> list["NodeProto"]:
        """Return the one weighted layer that reads ``constant``, or nothing if several do, as with zero points."""
        found: list[NodeProto] = []
        waiting = [constant]
        while waiting:
            for node in self.direct_readers[waiting.pop()]:
                if is_weighted(node.op_type):
                    found.append(node)
                elif node.op_type in PASSING:
                    waiting += node.output
        return found if len({id(node) for node in found}) == 1 else []

    def weighted(self, start: "NodeProto", made: "NodeProto", runtime: TensorGraph) -> Iterator["NodeProto"]:
        """Walk from the end of a fused chain up to its weighted layer, past what is fused behind one."""
        shape, waiting = runtime.weight_shape(made), [start]
        seen: set[int] = set()
        while waiting and len(seen) < FUSED:
            node = waiting.pop(0)
            if id(node) in seen:
                continue
            seen.add(id(node))
            if family(node.op_type) != family(made.op_type):
                waiting += [self.producer[name] for name in node.input if name in self.producer]
            elif fits(self.weight_shape(node), shape):
                yield node


def fits(stored: tuple[int, ...] | None, made: tuple[int, ...] | None) -> bool:
    """Return whether a change of layout could turn one weight into the other: permuted dimensions, padded channels."""
    if stored is None or made is None:
        return True
    if len(stored) != len(made):
        return False
    return all(small <= large < small + 32 for small, large in zip(sorted(stored), sorted(made), strict=True))


def nodes_of(steps: Sequence[KernelRun], runtime: TensorGraph) -> list["NodeProto | None"]:
    """Return the node of each step, or None.

    A saved graph is in the order of execution; names decide where a step is in a branch.
    """
    if [step.op for step in steps] == [node.op_type for node in runtime.nodes]:
        return list(runtime.nodes)
    named = {(node.name, node.op_type): node for node in runtime.nodes}
    return [named.get((step.name, step.op)) for step in steps]
