"""Where fake-quantisation goes in an exported graph, so that ONNX Runtime fuses every convolution.

ONNX Runtime turns a convolution into an int8 one when its inputs come from a DequantizeLinear and its
output, after a ReLU or Clip that the range makes redundant, goes to one QuantizeLinear. It adds in int8
when both inputs and the output are quantised, and pools or reshapes in int8 when the scale stays the same.
"""

from typing import cast

import torch
from torch.fx import Graph, Node
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    SharedQuantizationSpec,
)

aten = torch.ops.aten

WEIGHTED = {aten.conv1d.default, aten.conv2d.default, aten.conv2d.padding, aten.linear.default}
CLAMPS = {
    aten.relu.default,
    aten.relu_.default,
    aten.hardtanh.default,
    aten.hardtanh_.default,
    aten.relu6.default,
}
ADDS = {aten.add.Tensor, aten.add_.Tensor}
# The output has the same scale as the input: nothing is computed that could leave its range.
PASSING = {
    aten.max_pool2d.default,
    aten.avg_pool2d.default,
    aten.adaptive_avg_pool2d.default,
    aten.mean.dim,
    aten.flatten.using_ints,
    aten.view.default,
    aten.reshape.default,
    aten.dropout.default,
    aten.dropout_.default,
}
ANNOTATION = "quantization_annotation"


def annotate(graph: Graph, activation: QuantizationSpec, weight: QuantizationSpec) -> None:
    """Marks every node that runs in int8; the rest stays in float, and so do logits that a layer gives directly."""
    for node in graph.nodes:
        if node.target in WEIGHTED:
            _weighted(node, activation, weight)
        elif node.target in ADDS and all(_is_float(argument) for argument in node.args[:2]):
            _mark(node, dict.fromkeys(node.args[:2], activation), activation)
        elif node.target is aten.cat.default:
            _concatenation(node, activation)
    for node in graph.nodes:
        if node.target in PASSING and _is_quantised(node.args[0]):
            shared = SharedQuantizationSpec((node.args[0], node))
            node.meta[ANNOTATION] = QuantizationAnnotation({node.args[0]: activation}, shared, _annotated=True)


def _weighted(node: Node, activation: QuantizationSpec, weight: QuantizationSpec) -> None:
    inputs = {node.args[0]: activation, node.args[1]: weight}
    is_logits = any(user.op == "output" for user in node.users)
    _mark(node, inputs, None if is_logits else activation)


def _mark(node: Node, inputs: dict, output: QuantizationSpec | None) -> None:
    """The quantised output of a node that only a ReLU reads is the ReLU's."""
    clamp = _following_clamp(node)
    node.meta[ANNOTATION] = QuantizationAnnotation(inputs, None if clamp else output, _annotated=True)
    if clamp is not None:
        clamp.meta[ANNOTATION] = QuantizationAnnotation({}, output, _annotated=True)


def _following_clamp(node: Node) -> Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].target in CLAMPS else None


def _concatenation(node: Node, activation: QuantizationSpec) -> None:
    first, *others = cast(list[Node], node.args[0])
    shared = SharedQuantizationSpec((first, node))
    inputs = {first: activation} | dict.fromkeys(others, shared)
    node.meta[ANNOTATION] = QuantizationAnnotation(inputs, shared, _annotated=True)


def _is_float(node: object) -> bool:
    return isinstance(node, Node) and node.meta["val"].is_floating_point()


def _is_quantised(node: object) -> bool:
    if not isinstance(node, Node):
        return False
    annotation = node.meta.get(ANNOTATION)
    return annotation is not None and annotation.output_qspec is not None
