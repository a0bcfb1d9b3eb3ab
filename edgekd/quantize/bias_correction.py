"""Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.2."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgekd.machine_lock import training
from edgekd.progress import track
from edgekd.quantize.calibration import checked_batches, float_copy, freeze_calibrated
from edgekd.quantize.fake_quant import WeightedLayer, weighted_layers
from edgekd.quantize.layerwise import LayerwiseForward
from edgekd.tasks.tensors import Inputs


@dataclass(frozen=True)
class BiasCorrection:
    """The result of bias correction on a graph."""

    shifts: dict[str, Tensor]
    """By layer, the correction that was added: (channels,) in the units of the layer's output."""
    skipped: dict[str, str]
    """By layer, the reason for which its bias was not changed."""


@torch.no_grad()
def correct_biases(graph: GraphModule, batches: Iterable[Inputs]) -> BiasCorrection:
    """Add to each bias the shift of the mean of the layer's output by quantisation: E[float] − E[quantised].

    This is the empirical variant (appendix D): layers are corrected in order of execution, and the quantised inputs of
    each come from layers that are corrected already. Means are over samples and positions, before the activation
    function. A layer without a bias keeps its shift, which becomes part of the next layer's.

    Args:
        graph: a prepared and calibrated graph; its biases are changed.
        batches: (N, ...) inputs on the graph's device, or tuples of several; all are held in memory, with their
            activations at one layer.

    Raises:
        ModelError: there is no batch, or one of another shape, or the graph was not calibrated.
    """
    samples = list(checked_batches(graph, batches))
    freeze_calibrated(graph)
    skipped = _skipped(graph)
    layers = [layer for layer in weighted_layers(graph) if layer.layer not in skipped]
    quantised, reference = LayerwiseForward(graph, samples), LayerwiseForward(float_copy(graph), samples)
    shifts: dict[str, Tensor] = {}
    with training():
        for layer in track(layers, "correcting biases", len(layers)):
            name, axis = layer.node.name, _channel_axis(layer)
            shift = _mean(reference.outputs(name, keep=True), axis) - _mean(quantised.outputs(name), axis)
            bias = graph.get_parameter(str(layer.bias_name))
            bias.copy_(bias.double() + shift)
            shifts[layer.layer] = shift.to(bias.dtype)
    return BiasCorrection(shifts, skipped)


def _skipped(graph: GraphModule) -> dict[str, str]:
    parameters = {name for name, _ in graph.named_parameters()}
    uses = Counter(layer.bias_name for layer in weighted_layers(graph))
    reasons = {}
    for layer in weighted_layers(graph):
        if layer.bias_name is None:
            reasons[layer.layer] = "it has no bias"
        elif layer.bias_name not in parameters:
            reasons[layer.layer] = "its bias is no weight of its own"
        elif uses[layer.bias_name] > 1:
            reasons[layer.layer] = f"its bias is used {uses[layer.bias_name]} times"
    return reasons


def _mean(batches: Iterable[Tensor], channel_axis: int) -> Tensor:
    rows = (batch.transpose(0, channel_axis).flatten(1) for batch in batches)
    sums, counts = zip(*((row.sum(1, dtype=torch.float64), row.shape[1]) for row in rows), strict=True)
    return torch.stack(sums).sum(0) / sum(counts)


def _channel_axis(layer: WeightedLayer) -> int:
    return -1 if layer.node.target is torch.ops.aten.linear.default else 1
