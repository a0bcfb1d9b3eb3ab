"""Sensitivity of a network to the quantisation of single layers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgekd.errors import ModelError
from edgekd.machine_lock import give_way, training
from edgekd.nearest import among
from edgekd.progress import track
from edgekd.quantize.calibration.states import as_float, checked_batches
from edgekd.quantize.fake_quant import WEIGHTED, FakeQuantize, WeightedLayer, fake_quants, weighted_layers
from edgekd.tasks.classification.train import divergence as of_classes
from edgekd.tasks.tensors import Inputs

# Of a network's outputs from a reference's, for each sample.
Divergence = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class LayerSensitivity:
    """The effect of quantising one layer alone.

    Attributes:
        divergence: Kullback-Leibler divergence of the logits from the float network's, in nats per sample.
    """

    layer: str
    divergence: float


@torch.no_grad()
def sensitivities(
    graph: GraphModule, batches: Sequence[Inputs], divergence: Divergence = of_classes
) -> list[LayerSensitivity]:
    """Quantise one layer at a time, its weights and its input, and measure the divergence; the most sensitive first.

    The divergence is from the float network's logits, and distinguishes layers where accuracy cannot.

    Args:
        graph: a calibrated graph; it is left as it was.
        batches: inputs of shape (N, *input_shape), or tuples of several; a few hundred samples are enough.
        divergence: of the graph's outputs from a reference's, (N,); of a classifier's logits if left out.

    Raises:
        ModelError: ``divergence`` was left out, and the graph gives something else than one tensor; there is no batch,
            or one of another shape.
    """
    arguments = list(checked_batches(graph, batches))
    layers = [layer for layer in weighted_layers(graph) if layer.weight_fake_quant is not None]
    with as_float(graph), training():
        reference = list(_outputs(graph, arguments))
        if divergence is of_classes and not all(isinstance(each, Tensor) for each in reference):
            raise ModelError(
                "the graph gives several outputs: say how far they are apart (divergence=lambda ours, reference: ...)"
            )
        found = []
        for layer in track(layers, "sensitivity of layers", len(layers)):
            _enable(graph, modules_of(layer))
            outputs = _outputs(graph, arguments)
            total = sum(divergence(ours, exact).sum() for ours, exact in zip(outputs, reference, strict=True))
            found.append(LayerSensitivity(layer.layer, float(total) / sum(len(inputs[0]) for inputs in arguments)))
    return sorted(found, key=lambda each: -each.divergence)


def _outputs(graph: GraphModule, batches: Iterable[Sequence[Tensor]]) -> Iterator[Any]:
    for inputs in batches:
        give_way()
        yield graph(*inputs)


def keep_in_float(graph: GraphModule, layer: str) -> None:
    """Disable the quantisation of ``layer``, so that :func:`edgekd.quantize.convert` and files keep it in float.

    Raises:
        ModelError: there is no such layer.
    """
    layers = weighted_layers(graph)
    if not any(each.layer == layer for each in layers):
        raise ModelError(f"the graph has no layer {layer!r}{among(layer, [each.layer for each in layers])}")
    for each in layers:
        if each.layer == layer and each.weight_fake_quant is not None:
            each.weight_fake_quant.disable_fake_quant()


def output_layers(graph: GraphModule) -> list[str]:
    """Return the layers that give the network's outputs: the last convolution or linear layer on every path to one."""
    ahead = [each for node in graph.graph.nodes if node.op == "output" for each in node.all_input_nodes]
    seen: set[Node] = set()
    while ahead:
        node = ahead.pop()
        if node not in seen and node.target not in WEIGHTED:
            ahead += node.all_input_nodes
        seen.add(node)
    return [each.layer for each in weighted_layers(graph) if each.node in seen]


def float_layers(graph: GraphModule) -> list[str]:
    """Return the layers whose quantisation :func:`keep_in_float` disabled."""
    quantisers = [(layer.layer, layer.weight_fake_quant) for layer in weighted_layers(graph)]
    return [layer for layer, module in quantisers if module is not None and not module.fake_quant_enabled[0]]


def modules_of(layer: WeightedLayer) -> tuple[FakeQuantize, ...]:
    """Return the fake-quants of the layer's weight and input."""
    return tuple(module for module in (layer.weight_fake_quant, layer.input_fake_quant) if module is not None)


def _enable(graph: GraphModule, chosen: Sequence[FakeQuantize]) -> None:
    for module in fake_quants(graph).values():
        module.enable_fake_quant(any(module is each for each in chosen))
