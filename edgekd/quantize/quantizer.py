"""edgekd's quantizer for PT2E: annotates an exported graph wherever a known runtime could compute in int8.

Convolutions and linear layers take 8-bit inputs and weights. The operators between them are quantised too, so that a
runtime need not leave int8 from one to the next. A clamp belongs to the operator before it: only its output has a
range. Which of these fake-quants become Q/DQ pairs of a file is decided for each runtime (:mod:`edgekd.deploy`).
"""

import operator
from collections.abc import Collection
from typing import cast

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket
from torch.fx import Graph, GraphModule, Node
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from edgekd.profiles import PROFILES
from edgekd.quantize.fake_quant import TRANSPOSED, WEIGHTED, FakeQuantize, groups_of, layer_of
from edgekd.quantize.layerwise import dependents, inputs_of
from edgekd.runtime import Profile

aten = torch.ops.aten


def _overloads(*packets: OpOverloadPacket) -> set[OpOverload]:
    return {getattr(packet, name) for packet in packets for name in packet.overloads()}


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
# Operators whose output has the scale of the input, since they cannot leave its range: those of the first version, and
# those that dense networks have besides.
FIRST_PASSING = AVERAGING | {
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
NEAREST = _overloads(
    *(aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d),
    *(aten._upsample_nearest_exact1d, aten._upsample_nearest_exact2d, aten._upsample_nearest_exact3d),
)
# Between codes kernels cut off where the trained graph rounds, so that runtimes compute these in float.
INTERPOLATING = _overloads(aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d)
PADDING = _overloads(aten.pad, aten.constant_pad_nd)
PASSING = (
    FIRST_PASSING
    | NEAREST
    | PADDING
    | _overloads(
        *(aten.slice, aten.select, aten.narrow, aten.squeeze, aten.unsqueeze, aten.expand, aten.flip),
        *(aten.pixel_shuffle, aten.pixel_unshuffle, aten.channel_shuffle, aten.unflatten, aten.clone),
        *(aten.max_pool1d, aten.max_pool3d),
    )
)
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
# The version of these places. The first had one range for a concatenation, and FIRST_PASSING.
PLACES = 2


class RuntimeQuantizer(Quantizer):
    """Places fake-quantisation where the runtime of ``profile`` computes in int8, except in the layers ``keep_float``.

    >>> prepare_pt2e(graph, RuntimeQuantizer("onnxruntime-x86"))  # doctest: +SKIP

    Args:
        profile: an entry of ``PROFILES``.
        keep_float: paths of layers that stay in float, each with all layers under it.
        places: the version of the places, for networks that were quantised by an earlier one.
    """

    def __init__(self, profile: str, keep_float: Collection[str] = (), places: int = PLACES):
        super().__init__()
        self.profile, self.keep_float = PROFILES.find(profile), keep_float
        self.passing = FIRST_PASSING if places == 1 else PASSING
        self.keeping = self.passing - AVERAGING | (set() if places == 1 else INTERPOLATING)
        self.shares_concat = places == 1 or self.profile.shared_concat

    def annotate(self, model: GraphModule) -> GraphModule:
        """Annotate the nodes of a float graph, in place."""
        graph = model.graph
        activation = activation_spec(self.profile)
        live = _activations(graph)
        nodes = [node for node in graph.nodes if node in live and not self._is_kept(node)]
        for node in nodes:
            if node.target in WEIGHTED:
                self._weighted(node, activation)
            elif node.target in BINARY and all(argument in live for argument in node.args[:2]):
                self._annotate(node, dict.fromkeys(node.args[:2], activation), activation)
            elif node.target in UNARY:
                self._annotate(node, {node.args[0]: activation}, activation)
            elif node.target is aten.cat.default and live.issuperset(cast(list[Node], node.args[0])):
                self._concatenation(node, activation)
        for node in nodes:
            if node.target in self.passing and _is_quantised(node.args[0]) and _keeps_range(node):
                shared = None if self._is_logits(node) else SharedQuantizationSpec((node.args[0], node))
                node.meta[ANNOTATION] = QuantizationAnnotation({node.args[0]: activation}, shared, _annotated=True)
            elif node.target in SPLITTING and _is_quantised(node.args[0]):
                _splitting(node, activation)
        return model

    def validate(self, model: GraphModule) -> None:
        """Accept every graph."""

    def _is_kept(self, node: Node) -> bool:
        layer = layer_of(node)
        return any(layer == kept or layer.startswith(f"{kept}.") for kept in self.keep_float)

    def _weighted(self, node: Node, activation: QuantizationSpec) -> None:
        if node.target in TRANSPOSED and groups_of(node) > 1:
            return  # its output channels lie along two axes, and scales of runtimes along one
        if not isinstance(node.args[1], Node) or node.args[1].op != "get_attr":
            return  # a weight that is computed in every forward pass
        self._annotate(node, {node.args[0]: activation, node.args[1]: self._weight(node)}, activation)

    def _weight(self, node: Node) -> QuantizationSpec:
        codes = self.profile.weight_range(self._is_nonnegative(node.args[0]))
        return weight_spec(self.profile, codes, ch_axis=1 if node.target in TRANSPOSED else 0)

    def _concatenation(self, node: Node, activation: QuantizationSpec) -> None:
        """Annotate a concatenation, each of whose inputs keeps its own range where the runtime's kernel takes them.

        With one range for all a ReLU's zero would not have the smallest code beside an input with a sign, so that the
        layer before the ReLU would stay in float, and what is small would lose its steps to what is large.
        """
        first, *others = dict.fromkeys(cast(list[Node], node.args[0]))
        if not self.shares_concat:
            self._annotate(node, dict.fromkeys([first, *others], activation), activation)
            return
        shared = SharedQuantizationSpec((first, node))
        node.meta[ANNOTATION] = QuantizationAnnotation(
            {first: activation} | dict.fromkeys(others, shared), shared, _annotated=True
        )

    def _annotate(self, node: Node, inputs: dict, output: QuantizationSpec | None) -> None:
        """Annotate ``node``; if only a clamp reads it, the clamp's output is quantised. Logits stay in float."""
        clamp = _following_clamp(node)
        last = clamp or node
        own = None if clamp or self._is_logits(last) else output
        node.meta[ANNOTATION] = QuantizationAnnotation(inputs, own, _annotated=True)
        if clamp is not None:
            outside = None if self._is_logits(clamp) else output
            clamp.meta[ANNOTATION] = QuantizationAnnotation({}, outside, _annotated=True)

    def _is_logits(self, node: Node) -> bool:
        """Tell whether the values of ``node`` are network outputs, directly or through operators that keep values."""
        return any(
            user.op == "output" or (user.target in self.keeping and self._is_logits(user)) for user in node.users
        )

    def _is_nonnegative(self, node: object) -> bool:
        """Tell whether no value can be below zero, whatever the input."""
        if not isinstance(node, Node):
            return False
        if node.target in self.passing | SPLITTING | INTERPOLATING or node.target is operator.getitem:
            return self._is_nonnegative(node.args[0]) and (node.target not in PADDING or _keeps_range(node))
        if node.target is aten.cat.default:
            return all(map(self._is_nonnegative, cast(list[Node], node.args[0])))
        if node.target in BOUNDED:
            return len(node.args) > 1 and isinstance(node.args[1], (int, float)) and node.args[1] >= 0
        return node.target in NONNEGATIVE


def depends_on_places(graph: GraphModule) -> bool:
    """Return whether the version of the places decides where a network's graph is quantised."""
    later = (PASSING - FIRST_PASSING) | INTERPOLATING | {aten.cat.default}
    return any(node.target in later for node in graph.graph.nodes)


def activation_spec(profile: Profile) -> QuantizationSpec:
    """Return torchao's specification of activations: one range per tensor, a moving average over the batches."""
    symmetric = profile.activations == "symmetric"
    return QuantizationSpec(
        dtype=torch.int8 if symmetric else torch.uint8,
        quant_min=-128 if symmetric else 0,
        quant_max=127 if symmetric else 255,
        qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine,
        observer_or_fake_quant_ctr=FakeQuantize.with_args(float16_scales=profile.float16_scales),
    )


def weight_spec(profile: Profile, codes: tuple[int, int], ch_axis: int) -> QuantizationSpec:
    """Return torchao's specification of weights: one range per output channel, that of the present weights."""
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=codes[0],
        quant_max=codes[1],
        qscheme=torch.per_channel_symmetric,
        ch_axis=ch_axis,
        observer_or_fake_quant_ctr=FakeQuantize.with_args(
            averaging=1.0, float16_scales=profile.float16_scales, ch_axis=ch_axis
        ),
    )


def _following_clamp(node: Node) -> Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].target in CLAMPS else None


def _splitting(node: Node, activation: QuantizationSpec) -> None:
    """Annotate a split, whose parts have the scale of its input."""
    source = cast(Node, node.args[0])
    node.meta[ANNOTATION] = QuantizationAnnotation({source: activation}, None, _annotated=True)
    for part in node.users:
        if part.target is operator.getitem:
            shared = SharedQuantizationSpec((source, node))
            part.meta[ANNOTATION] = QuantizationAnnotation({}, shared, _annotated=True)


def _keeps_range(node: Node) -> bool:
    """Tell whether an operator of :data:`PASSING` stays in the range of its input, which holds 0.

    An average pooling with its own divisor does not, nor padding with another number.
    """
    if node.target is aten.avg_pool2d.default:
        return len(node.args) <= 6 or node.args[6] is None
    if node.target not in PADDING:
        return True
    constant = node.args[2] if len(node.args) > 2 else 0
    if isinstance(constant, str):
        constant = (node.args[3] if len(node.args) > 3 else 0) if constant == "constant" else 0
    return not constant


def _activations(graph: Graph) -> set[Node]:
    """Return the floating-point nodes that depend on the network's inputs; arithmetic on parameters does not."""
    return {node for node in dependents(inputs_of(graph)) if _is_float(node.meta.get("val"))}


def _is_float(value: object) -> bool:
    """Tell whether ``value`` is one or several floating-point tensors; a Python number taken from one is not."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_float, value))
    return isinstance(value, Tensor) and value.is_floating_point()


def _is_quantised(node: object) -> bool:
    if not isinstance(node, Node):
        return False
    annotation = node.meta.get(ANNOTATION)
    return annotation is not None and annotation.output_qspec is not None
