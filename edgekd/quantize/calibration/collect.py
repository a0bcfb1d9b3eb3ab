"""Calibration of a prepared graph: histograms of its activations on batches of data, and ranges from them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import disable_observer, enable_fake_quant

from edgekd.errors import ModelError
from edgekd.machine_lock import give_way, training
from edgekd.nearest import nearest
from edgekd.quantize.calibration.histogram import Histogram
from edgekd.quantize.calibration.states import as_float, checked_batches
from edgekd.quantize.fake_quant import FakeQuantize, fake_quants, layer_of, weighted_layers
from edgekd.quantize.layerwise import inputs_of
from edgekd.quantize.registry import CALIBRATIONS, Calibration
from edgekd.tasks.tensors import Inputs


def collect(graph: GraphModule, batches: Iterable[Inputs]) -> dict[str, Histogram]:
    """Collect histograms of the float network's activations at every fake-quant.

    Args:
        graph: a prepared graph; its ranges, and which fake-quants are enabled, stay as they are.
        batches: (N, ...) inputs on the graph's device; of a network with several, tuples of them.

    Returns:
        A histogram for each activation's FakeQuantize, by its name in the graph; tensors that share a range have one.

    Raises:
        ModelError: a value is NaN or infinite, there is no batch, or a batch has another shape.
    """
    modules = _activation_fake_quants(graph)
    histograms = {name: Histogram() for name in modules}
    counters = [(module, _Counter(histograms[name], _source(graph, name))) for name, module in modules.items()]
    with torch.no_grad(), as_float(graph), _hooked(counters), training():
        for inputs in checked_batches(graph, batches):
            graph(*inputs)
            give_way()
    return histograms


def calibrate(
    graph: GraphModule, batches: Iterable[Inputs], method: str = "minmax", **options: Any
) -> dict[str, Histogram]:
    """Set the ranges of activations with ``method``, and those of weights to each channel's full range; freeze both.

    All fake-quants are enabled afterwards, also those that were disabled before.

    Args:
        graph: a prepared graph.
        batches: (N, ...) inputs on the graph's device; of a network with several, tuples of them.
        method: an entry of ``CALIBRATIONS``.
        options: options of the method, such as ``percentage``.

    Returns:
        The histograms that the ranges were computed from.

    Raises:
        ModelError: ``method`` is unknown, or an option of it; and as for :func:`collect`.
    """
    find_range = CALIBRATIONS.find(method)
    _must_have(method, find_range, options)
    modules = _activation_fake_quants(graph)
    weights = [layer.weight_fake_quant for layer in weighted_layers(graph) if layer.weight_fake_quant is not None]
    # in the pass over the data, as a weight may be computed from parameters, for example by weight standardisation
    with _hooked((module, _set_weight_range) for module in weights):
        histograms = collect(graph, batches)
    for name, histogram in histograms.items():
        module = modules[name]
        low, high = find_range(histogram, module.quant_min, module.quant_max, module.symmetric, **options)
        device = module.scale.device
        module.set_range(torch.tensor([low], device=device), torch.tensor([high], device=device))
    graph.apply(enable_fake_quant)
    graph.apply(disable_observer)
    return histograms


def _must_have(method: str, find_range: Calibration, options: Iterable[str]) -> None:
    # Behind the histogram and what the fake-quant says.
    parameters = list(signature(find_range).parameters.values())[4:]
    known = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
    unknown = next((name for name in options if name not in known), None)
    if unknown is not None and len(known) == len(parameters):
        raise ModelError(
            f"the calibration method {method!r} has no option {unknown!r}{nearest(unknown, known)}; "
            f"it has: {', '.join(known) or 'none'}"
        )


Hook = Callable[[nn.Module, tuple[Tensor, ...]], None]


@contextmanager
def _hooked(hooks: Iterable[tuple[FakeQuantize, Hook]]) -> Iterator[None]:
    with ExitStack() as stack:
        for module, hook in hooks:
            stack.callback(module.register_forward_pre_hook(hook).remove)
        yield


def _set_weight_range(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
    assert isinstance(module, FakeQuantize)
    weight = arguments[0].detach()
    rows = weight.reshape(1, -1) if module.ch_axis < 0 else weight.transpose(0, module.ch_axis).flatten(1)
    module.set_range(*torch.aminmax(rows, dim=1))


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


def _activation_fake_quants(graph: GraphModule) -> dict[str, FakeQuantize]:
    weights = {id(layer.weight_fake_quant) for layer in weighted_layers(graph)}
    return {name: module for name, module in fake_quants(graph).items() if id(module) not in weights}


def _source(graph: GraphModule, name: str) -> str:
    call = next(node for node in graph.graph.nodes if node.op == "call_module" and node.target == name)
    node = call.args[0]
    assert isinstance(node, Node)
    if node.op == "placeholder":
        return "the network's input" if len(inputs_of(graph.graph)) == 1 else f"the network's input {node.name!r}"
    return f"the output of layer {layer_of(node)!r} ({node.name})" if layer_of(node) else f"the output of {node.name}"
