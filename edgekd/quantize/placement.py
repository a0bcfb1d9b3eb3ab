"""Where fake-quantisation goes in an exported graph: wherever a runtime that edgekd knows could compute in int8.

Convolutions and linear layers take 8-bit inputs and weights; what stands between them is quantised too, so that a
runtime need not leave int8 from one to the next. A clamp belongs to what it clamps: only its output has a range.
Which of these places a file really has is the runtime's affair (:mod:`edgekd.export.deploy`).
"""

import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    SharedQuantizationSpec,
)

from edgekd.export.profile import Profile
from edgekd.quantize.fake_quant import TRANSPOSED, WEIGHTED, groups_of, layer_of
from edgekd.quantize.specs import activation_spec, weight_spec
from edgekd.quantize.walk import dependents

aten = torch.ops.aten

CLAMPS = {
    aten.relu.default,
    aten.relu_.default,
    aten.hardtanh.default,
    aten.hardtanh_.default,
    aten.relu6.default,
    aten.relu6_.default,
    aten.clamp.default,
}
BINARY = {aten.add.Tensor, aten.add_.Tensor, aten.mul.Tensor, aten.mul_.Tensor}
UNARY = {
    aten.hardswish.default,
    aten.hardswish_.default,
    aten.silu.default,
    aten.silu_.default,
    aten.sigmoid.default,
    aten.hardsigmoid.default,
    aten.hardsigmoid_.default,
}
AVERAGING = {aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default, aten.mean.dim}
# The output has the same scale as the input: nothing is computed that could leave its range.
PASSING = AVERAGING | {
    aten.max_pool2d.default,
    aten.flatten.using_ints,
    aten.view.default,
    aten.reshape.default,
    aten.permute.default,
    aten.transpose.int,
    aten.contiguous.default,
    aten.dropout.default,
    aten.dropout_.default,
}
SPLITTING = {aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default}
NONNEGATIVE = {
    aten.relu.default,
    aten.relu_.default,
    aten.relu6.default,
    aten.relu6_.default,
    aten.sigmoid.default,
    aten.hardsigmoid.default,
    aten.hardsigmoid_.default,
}
BOUNDED = {aten.hardtanh.default, aten.hardtanh_.default, aten.clamp.default}
ANNOTATION = "quantization_annotation"


@dataclass(frozen=True)
class Placement:
    """Marks the nodes of a float graph for ``profile``; layers under a path in ``keep_float`` are left alone."""

    profile: Profile
    keep_float: Collection[str] = ()

    def annotate(self, graph: Graph) -> None:
        activation = activation_spec(self.profile)
        live = _activations(graph)
        nodes = [node for node in graph.nodes if node in live and not self.is_float(node)]
        for node in nodes:
            if node.target in WEIGHTED:
                self._weighted(node, activation)
            elif node.target in BINARY and all(argument in live for argument in node.args[:2]):
                _mark(node, dict.fromkeys(node.args[:2], activation), activation)
            elif node.target in UNARY:
                _mark(node, {node.args[0]: activation}, activation)
            elif node.target is aten.cat.default and live.issuperset(cast(list[Node], node.args[0])):
                _concatenation(node, activation)
        for node in nodes:
            if node.target in PASSING and _is_quantised(node.args[0]) and not _divides_otherwise(node):
                shared = None if _is_logits(node) else SharedQuantizationSpec((node.args[0], node))
                node.meta[ANNOTATION] = QuantizationAnnotation({node.args[0]: activation}, shared, _annotated=True)
            elif node.target in SPLITTING and _is_quantised(node.args[0]):
                _splitting(node, activation)

    def is_float(self, node: Node) -> bool:
        layer = layer_of(node)
        return any(layer == kept or layer.startswith(f"{kept}.") for kept in self.keep_float)

    def _weighted(self, node: Node, activation: QuantizationSpec) -> None:
        if node.target in TRANSPOSED and groups_of(node) > 1:
            return  # its output channels lie along two axes, which no runtime's scales do
        if not isinstance(node.args[1], Node) or node.args[1].op != "get_attr":
            return  # a weight that is computed anew each time
        _mark(node, {node.args[0]: activation, node.args[1]: self._weight(node)}, activation)

    def _weight(self, node: Node) -> QuantizationSpec:
        codes = self.profile.weight_range(_is_nonnegative(node.args[0]))
        return weight_spec(self.profile, codes, ch_axis=1 if node.target in TRANSPOSED else 0)


def _mark(node: Node, inputs: dict, output: QuantizationSpec | None) -> None:
    """The quantised output of a node that only a clamp reads is the clamp's; logits are left as they are."""
    clamp = _following_clamp(node)
    last = clamp or node
    own = None if clamp or _is_logits(last) else output
    node.meta[ANNOTATION] = QuantizationAnnotation(inputs, own, _annotated=True)
    if clamp is not None:
        clamp.meta[ANNOTATION] = QuantizationAnnotation({}, None if _is_logits(clamp) else output, _annotated=True)


def _is_logits(node: Node) -> bool:
    """Whether the output shows every value of ``node``; an average of many does not show how they were rounded."""
    shows = PASSING - AVERAGING
    return any(user.op == "output" or (user.target in shows and _is_logits(user)) for user in node.users)


def _following_clamp(node: Node) -> Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].target in CLAMPS else None


def _concatenation(node: Node, activation: QuantizationSpec) -> None:
    first, *others = cast(list[Node], node.args[0])
    shared = SharedQuantizationSpec((first, node))
    inputs = {first: activation} | dict.fromkeys([other for other in others if other is not first], shared)
    node.meta[ANNOTATION] = QuantizationAnnotation(inputs, shared, _annotated=True)


def _splitting(node: Node, activation: QuantizationSpec) -> None:
    """Each part keeps the scale of the whole."""
    whole = cast(Node, node.args[0])
    node.meta[ANNOTATION] = QuantizationAnnotation({whole: activation}, None, _annotated=True)
    for part in node.users:
        if part.target is operator.getitem:
            shared = SharedQuantizationSpec((whole, node))
            part.meta[ANNOTATION] = QuantizationAnnotation({}, shared, _annotated=True)


def _divides_otherwise(node: Node) -> bool:
    """An average pooling with a divisor of its own leaves the range of its input."""
    return node.target is aten.avg_pool2d.default and len(node.args) > 6 and node.args[6] is not None


def _activations(graph: Graph) -> set[Node]:
    """What depends on the network's input and holds floating-point numbers; parameters' own arithmetic does not."""
    [placeholder] = graph.find_nodes(op="placeholder")
    return {node for node in dependents(placeholder) if _is_float(node.meta.get("val"))}


def _is_float(value: object) -> bool:
    """A tensor of floating-point numbers, or several; a Python number that was taken from one is none."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_float, value))
    return isinstance(value, Tensor) and value.is_floating_point()


def _is_quantised(node: object) -> bool:
    if not isinstance(node, Node):
        return False
    annotation = node.meta.get(ANNOTATION)
    return annotation is not None and annotation.output_qspec is not None


def _is_nonnegative(node: object) -> bool:
    """Whether no value can be below zero, whatever the input."""
    if not isinstance(node, Node):
        return False
    if node.target in PASSING | SPLITTING or node.target is operator.getitem:
        return _is_nonnegative(node.args[0])
    if node.target is aten.cat.default:
        return all(map(_is_nonnegative, cast(list[Node], node.args[0])))
    if node.target in BOUNDED:
        return len(node.args) > 1 and isinstance(node.args[1], (int, float)) and node.args[1] >= 0
    return node.target in NONNEGATIVE
