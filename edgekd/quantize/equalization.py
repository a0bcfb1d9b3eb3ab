"""Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.1."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from edgekd.quantize.fake_quant import TRANSPOSED, WeightedLayer, fake_quant_of, groups_of, weighted_layers
from edgekd.quantize.quantizer import CLAMPS

aten = torch.ops.aten

# f(s·x) = s·f(x) for every s > 0, channel by channel
HOMOGENEOUS = {
    aten.relu.default,
    aten.relu_.default,
    aten.max_pool2d.default,
    aten.avg_pool2d.default,
    aten.adaptive_avg_pool2d.default,
    aten.dropout.default,
    aten.dropout_.default,
}
POOLINGS = {aten.max_pool2d.default, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default}
BOUNDED = CLAMPS - HOMOGENEOUS
SWEEPS = 100
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Equalization:
    """The result of cross-layer equalisation on pairs of layers, the second the only reader of the first."""

    pairs: tuple[tuple[str, str], ...]
    skipped: dict[tuple[str, str], str]
    """By pair, the reason for which it was not equalised."""


@torch.no_grad()
def equalize(graph: GraphModule) -> Equalization:
    """Equalise the weight ranges of the channels between two layers, so that one scale for a tensor fits them all.

    Where r1 = max|W1| of an output channel and r2 = max|W2| of the same input channel, the first layer is divided by
    s = sqrt(r1 / r2) and the second multiplied by it (eq. 11), after which both ranges are sqrt(r1·r2). This is
    repeated over all pairs until no s is further from 1 than 1e-4, as a layer may be in two pairs: a depthwise
    convolution and its neighbours end with (r1·r2·r3)^(1/3). Between two layers there may be a ReLU and poolings, but
    not a ReLU6, which is not homogeneous. Channels that are zero in either layer stay as they are.

    Args:
        graph: a prepared graph before calibration, because ranges move. Its weights and biases are changed, its float
            outputs are not.
    """
    pairs: list[tuple[WeightedLayer, WeightedLayer]] = []
    skipped: dict[tuple[str, str], str] = {}
    for first, second, reason in _neighbours(graph):
        if reason is None:
            pairs.append((first, second))
        else:
            skipped[first.layer, second.layer] = reason
    for _ in range(SWEEPS):
        if max((_equalize(graph, first, second) for first, second in pairs), default=0.0) <= TOLERANCE:
            break
    return Equalization(tuple((first.layer, second.layer) for first, second in pairs), skipped)


def _equalize(graph: GraphModule, first: WeightedLayer, second: WeightedLayer) -> float:
    """Equalise one pair, and return the largest |log s|."""
    weight, reading = graph.get_parameter(first.weight_name), graph.get_parameter(second.weight_name)
    groups = groups_of(second.node)
    ranges = weight.abs().flatten(1).amax(1)
    reading_ranges = reading.abs().reshape(groups, len(reading) // groups, reading.shape[1], -1).amax((1, 3)).flatten()
    alive = (ranges > 0) & (reading_ranges > 0)
    s = torch.where(alive, ranges / reading_ranges, 1.0).sqrt()
    weight.div_(s.view(-1, *[1] * (weight.ndim - 1)))
    if first.bias_name is not None:
        graph.get_parameter(first.bias_name).div_(s)
    by_output = s.view(groups, 1, -1).expand(-1, len(reading) // groups, -1).reshape(reading.shape[:2])
    reading.mul_(by_output.view(*reading.shape[:2], *[1] * (reading.ndim - 2)))
    return float(s.log().abs().max())


def _neighbours(graph: GraphModule) -> Iterator[tuple[WeightedLayer, WeightedLayer, str | None]]:
    layers = {layer.node: layer for layer in weighted_layers(graph)}
    parameters = {name for name, _ in graph.named_parameters()}
    uses = Counter(name for layer in layers.values() for name in (layer.weight_name, layer.bias_name))
    for first in layers.values():
        node, between = _reader(graph, first.node)
        if node is not None and node in layers:
            second = layers[node]
            yield first, second, _reason_to_skip(first, second, between, parameters, uses)


def _reader(graph: GraphModule, node: Node) -> tuple[Node | None, list[Node]]:
    """Return the layer that is the only reader of ``node``, and the operators between."""
    between: list[Node] = []
    while len(node.users) == 1:
        before, node = node, next(iter(node.users))
        if node.target in HOMOGENEOUS | BOUNDED:
            between.append(node)
        elif fake_quant_of(graph, node) is None:
            return (node if node.args and node.args[0] is before else None), between
    return None, between


def _reason_to_skip(
    first: WeightedLayer,
    second: WeightedLayer,
    between: list[Node],
    parameters: Collection[str],
    uses: Counter[str | None],
) -> str | None:
    clamp = next((node for node in between if node.target in BOUNDED), None)
    if clamp is not None:
        return f"{clamp.name} cuts off at fixed values, so scaled channels would give something else"
    for layer in (first, second):
        own = [name for name in (layer.weight_name, layer.bias_name) if name is not None]
        if layer.node.target in TRANSPOSED:
            return f"{layer.layer} is a transposed convolution"
        if any(name not in parameters for name in own):
            return f"{layer.layer} computes its weight from others"
        if any(uses[name] > 1 for name in own):
            return f"{layer.layer} shares its weight or bias with another layer"
    # The channels of a convolution lie along the second axis, those of a linear layer along the last.
    is_linear, reads_linear = (layer.node.target is aten.linear.default for layer in (first, second))
    if is_linear != reads_linear or (is_linear and any(node.target in POOLINGS for node in between)):
        return f"{second.layer} reads along another axis than that of the channels of {first.layer}"
    return None
