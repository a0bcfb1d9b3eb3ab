"""Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.2."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgekd.progress import track
from edgekd.quantize.calibration import fitting, float_copy, hold_calibrated
from edgekd.quantize.fake_quant import Weighted, weighted
from edgekd.quantize.walk import Walk


@dataclass(frozen=True)
class BiasCorrection:
    """What became of a graph's biases."""

    shifts: dict[str, Tensor]
    """By layer, what was added: (channels,) in the units of the layer's output."""
    skipped: dict[str, str]
    """By layer, why its bias was left alone."""


@torch.no_grad()
def correct_biases(graph: GraphModule, batches: Iterable[Tensor]) -> BiasCorrection:
    """Adds to each bias what quantisation takes from the mean of the layer's output: E[float] − E[quantised].

    This is the empirical variant (appendix D): layers go in order of execution, and the quantised inputs of each
    come from layers that are corrected already. Means are over samples and positions, before the activation
    function. A layer without a bias keeps its shift, which becomes part of the next layer's.

    Args:
        graph: a prepared and calibrated one; its biases are changed.
        batches: of (N, ...) inputs on the graph's device; all are held in memory, with their activations at a layer.

    Raises:
        ModelError: there is no batch, or one of another shape, or the graph was not calibrated.
    """
    samples = list(fitting(graph, batches))
    hold_calibrated(graph)
    skipped = _without_bias_of_their_own(graph)
    layers = [layer for layer in weighted(graph) if layer.layer not in skipped]
    quantised, reference = Walk(graph, samples), Walk(float_copy(graph), samples)
    shifts: dict[str, Tensor] = {}
    for layer in track(layers, "correcting biases", len(layers)):
        name, axis = layer.node.name, _channel_axis(layer)
        shift = _mean(reference.outputs(name, keep=True), axis) - _mean(quantised.outputs(name), axis)
        bias = graph.get_parameter(str(layer.bias_name))
        bias.copy_(bias.double() + shift)
        shifts[layer.layer] = shift.to(bias.dtype)
    return BiasCorrection(shifts, skipped)


def _without_bias_of_their_own(graph: GraphModule) -> dict[str, str]:
    uses = Counter(layer.bias_name for layer in weighted(graph))
    reasons = {}
    for layer in weighted(graph):
        if layer.bias_name is None:
            reasons[layer.layer] = "it has no bias"
        elif uses[layer.bias_name] > 1:
            reasons[layer.layer] = f"its bias is used {uses[layer.bias_name]} times"
    return reasons


def _mean(batches: Iterable[Tensor], channel_axis: int) -> Tensor:
    rows = (batch.transpose(0, channel_axis).flatten(1) for batch in batches)
    sums, counts = zip(*((row.sum(1, dtype=torch.float64), row.shape[1]) for row in rows), strict=True)
    return torch.stack(sums).sum(0) / sum(counts)


def _channel_axis(layer: Weighted) -> int:
    return -1 if layer.node.target is torch.ops.aten.linear.default else 1
