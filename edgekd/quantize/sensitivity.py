"""What each layer's quantisation costs by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import GraphModule

from edgekd.progress import track
from edgekd.quantize.calibration.states import as_float
from edgekd.quantize.fake_quant import FakeQuantize, Weighted, fake_quants, weighted


@dataclass(frozen=True)
class LayerSensitivity:
    """``harm`` is the Kullback-Leibler divergence of the answers with only this layer quantised, in nats per sample."""

    layer: str
    harm: float


@torch.no_grad()
def sensitivities(graph: GraphModule, batches: Sequence[Tensor]) -> list[LayerSensitivity]:
    """Quantises one layer at a time, its weights and its input, and measures how the answers move. Most harm first.

    The divergence is from the float network's answers, which tells layers apart where accuracy cannot.

    Args:
        graph: a calibrated one; it is left as it was.
        batches: inputs of shape (N, *input_shape); a few hundred samples are enough.
    """
    layers = [layer for layer in weighted(graph) if layer.weight_fake_quant is not None]
    with as_float(graph):
        exact = [F.log_softmax(graph(inputs), 1) for inputs in batches]
        found = []
        for layer in track(layers, "sensitivity of layers", len(layers)):
            _enable(graph, modules_of(layer))
            harm = sum(divergence(graph(inputs), logits) for inputs, logits in zip(batches, exact, strict=True))
            found.append(LayerSensitivity(layer.layer, float(harm) / sum(map(len, batches))))
    return sorted(found, key=lambda each: -each.harm)


def leave_in_float(graph: GraphModule, layer: str) -> None:
    """Takes ``layer`` out of quantisation; :func:`edgekd.quantize.convert` and the files leave it in float."""
    for each in weighted(graph):
        if each.layer == layer and each.weight_fake_quant is not None:
            each.weight_fake_quant.disable_fake_quant()


def float_layers(graph: GraphModule) -> list[str]:
    """The layers that :func:`leave_in_float` took out."""
    quantisers = [(layer.layer, layer.weight_fake_quant) for layer in weighted(graph)]
    return [layer for layer, module in quantisers if module is not None and not module.fake_quant_enabled[0]]


def modules_of(layer: Weighted) -> tuple[FakeQuantize, ...]:
    return tuple(module for module in (layer.weight_fake_quant, layer.input_fake_quant) if module is not None)


def _enable(graph: GraphModule, chosen: Sequence[FakeQuantize]) -> None:
    for module in fake_quants(graph).values():
        module.enable_fake_quant(any(module is each for each in chosen))


def divergence(logits: Tensor, exact: Tensor) -> Tensor:
    """Kullback-Leibler divergence of ``logits`` (N, classes) from ``exact`` log-probabilities, summed, in nats."""
    return F.kl_div(F.log_softmax(logits, 1), exact, reduction="sum", log_target=True)
