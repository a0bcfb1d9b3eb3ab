"""Steps of ONNX Runtime's optimised graph, joined to the layers of the network that it was made from.

ONNX Runtime fuses, renames and lays out anew. What survives of a layer is one of: an initialiser that only it
reads, the name of its last output, or its own name with something behind it.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.bench.profile.trace import KernelRun, family, is_weighted

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

SCOPES = "pkg.torch.onnx.name_scopes"
FUSED = 8  # nodes to look at on the way up from the end of a fused chain to its layer
PASSING = {"DequantizeLinear", "QuantizeLinear", "Identity", "Cast", "Transpose", "Reshape"}
PARAMETER = re.compile(r"(\.|_|/)(weight|bias|kernel)(_quantized|_scale|_zero_point|_bias|_int32|_int8|_float)*$")


class TensorGraph:
    """An ONNX graph, with the producer and the readers of each tensor."""

    def __init__(self, path: Path):
        import onnx

        self.graph: GraphProto = onnx.load(path, load_external_data=False).graph
        self.nodes: Sequence[NodeProto] = self.graph.node
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.constants.update((node.output[0], each.t) for each in node.attribute if each.name == "value")

    @cached_property
    def readers(self) -> dict[str, list["NodeProto"]]:
        found = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                found[name].append(node)
        return found

    @cached_property
    def by_name(self) -> dict[str, "NodeProto"]:
        """Return each node under its name and under those of its outputs."""
        return {**self.producer, **{node.name: node for node in self.nodes if node.name}}

    def constant(self, name: str) -> "TensorProto | None":
        """Return the stored tensor behind ``name``, looking through quantising and transposing nodes."""
        while name not in self.constants:
            node = self.producer.get(name)
            if node is None or node.op_type not in PASSING:
                return None
            name = node.input[0]
        return self.constants[name]

    def weight_shape(self, node: "NodeProto") -> tuple[int, ...] | None:
        """Return the shape of a layer's weight as stored, or None for a product of two activations."""
        place = 3 if node.op_type.startswith("QLinear") or node.op_type == "QGemm" else 1
        stored = self.constant(node.input[place]) if len(node.input) > place else None
        return tuple(stored.dims) if stored is not None else None


class Network(TensorGraph):
    """The ONNX file as it was given: the layers that a profile is joined to."""

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
            for node in self.readers[waiting.pop()]:
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


def fits(stored: tuple[int, ...] | None, made: tuple[int, ...] | None) -> bool:
    """Return whether a change of layout could turn one weight into the other: permuted dimensions, padded channels."""
    if stored is None or made is None:
        return True
    if len(stored) != len(made):
        return False
    return all(small <= large < small + 32 for small, large in zip(sorted(stored), sorted(made), strict=True))


def module_path(name: str) -> str:
    """Return ``layer1.0.conv1`` for ``/layer1/layer1.0/conv1/Conv``, as PyTorch's older exporter writes it."""
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        if path and part.startswith(path[-1] + "."):
            path.pop()
        path.append(part)
    return ".".join(path)


def nodes_of(steps: Sequence[KernelRun], runtime: TensorGraph) -> list["NodeProto | None"]:
    """Return the node of each step, or None.

    A saved graph is in the order of execution; names decide where a step is in a branch.
    """
    if [step.op for step in steps] == [node.op_type for node in runtime.nodes]:
        return list(runtime.nodes)
    named = {(node.name, node.op_type): node for node in runtime.nodes}
    return [named.get((step.name, step.op)) for step in steps]
