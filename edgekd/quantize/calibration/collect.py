"""Ranges of a prepared graph's activations from what batches of data make of them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import disable_observer, enable_fake_quant

from edgekd.errors import ModelError
from edgekd.quantize.calibration.histogram import Histogram
from edgekd.quantize.calibration.registry import CALIBRATIONS
from edgekd.quantize.calibration.states import as_float, fitting
from edgekd.quantize.fake_quant import FakeQuantize, fake_quants, layer_of, weighted


def collect(graph: GraphModule, batches: Iterable[Tensor]) -> dict[str, Histogram]:
    """What the float network's activations are, for every place where one is quantised.

    Args:
        graph: a prepared one; its ranges and what it quantises stay as they are.
        batches: of (N, ...) inputs on the graph's device.

    Returns:
        A histogram for each activation's FakeQuantize by its name in the graph; where tensors share a range,
        of all of them.

    Raises:
        ModelError: a value is NaN or infinite, or there is no batch, or one of another shape.
    """
    places = _activation_places(graph)
    histograms = {name: Histogram() for name in places}
    counters = [(place, _Counter(histograms[name], _source(graph, name))) for name, place in places.items()]
    with torch.no_grad(), as_float(graph), _hooked(counters):
        for inputs in fitting(graph, batches):
            graph(inputs)
    return histograms


def calibrate(
    graph: GraphModule, batches: Iterable[Tensor], method: str = "minmax", **options: Any
) -> dict[str, Histogram]:
    """Sets the ranges of activations with ``method``, those of weights to all of each channel, and holds them.

    Everything quantises afterwards, what was left in float as well.

    Args:
        graph: a prepared one.
        batches: of (N, ...) inputs on the graph's device.
        method: a name of ``CALIBRATIONS``.
        options: the method's own, such as ``percentage``.

    Returns:
        The histograms that the ranges were taken from.

    Raises:
        ModelError: ``method`` is unknown, and as :func:`collect`.
    """
    find_range = CALIBRATIONS.find(method)
    places = _activation_places(graph)
    weights = [layer.weight_fake_quant for layer in weighted(graph) if layer.weight_fake_quant is not None]
    # from the pass over the data, as a weight may be computed from parameters, by weight standardisation for one
    with _hooked((place, _take_weight_range) for place in weights):
        histograms = collect(graph, batches)
    for name, histogram in histograms.items():
        place = places[name]
        low, high = find_range(histogram, place.quant_min, place.quant_max, place.symmetric, **options)
        device = place.scale.device
        place.set_range(torch.tensor([low], device=device), torch.tensor([high], device=device))
    graph.apply(enable_fake_quant)
    graph.apply(disable_observer)
    return histograms


Hook = Callable[[nn.Module, tuple[Tensor, ...]], None]


@contextmanager
def _hooked(hooks: Iterable[tuple[FakeQuantize, Hook]]) -> Iterator[None]:
    with ExitStack() as stack:
        for place, hook in hooks:
            stack.callback(place.register_forward_pre_hook(hook).remove)
        yield


def _take_weight_range(place: nn.Module, arguments: tuple[Tensor, ...]) -> None:
    assert isinstance(place, FakeQuantize)
    weight = arguments[0].detach()
    rows = weight.reshape(1, -1) if place.ch_axis < 0 else weight.transpose(0, place.ch_axis).flatten(1)
    place.set_range(*torch.aminmax(rows, dim=1))


class _Counter:
    def __init__(self, histogram: Histogram, source: str):
        self.histogram, self.source = histogram, source

    def __call__(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        try:
            self.histogram.add(arguments[0])
        except ModelError as error:
            raise ModelError(
                f"{self.source} has {error}; check the weights and the batches before calibrating"
            ) from None


def _activation_places(graph: GraphModule) -> dict[str, FakeQuantize]:
    weights = {id(layer.weight_fake_quant) for layer in weighted(graph)}
    return {name: module for name, module in fake_quants(graph).items() if id(module) not in weights}


def _source(graph: GraphModule, name: str) -> str:
    place = next(node for node in graph.graph.nodes if node.op == "call_module" and node.target == name)
    node = place.args[0]
    assert isinstance(node, Node)
    if node.op == "placeholder":
        return "the network's input"
    return f"the output of layer {layer_of(node)!r} ({node.name})" if layer_of(node) else f"the output of {node.name}"
