"""Quantisation-aware training: from a float network to a fake-quantised graph, and on to int8."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.fx import GraphModule
from torchao.quantization.pt2e import (
    FakeQuantizeBase,
    disable_fake_quant,
    disable_observer,
    enable_fake_quant,
    enable_observer,
)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from edgekd.errors import ModelError, first_line
from edgekd.progress import quiet
from edgekd.quantize.quantizer import RuntimeQuantizer


def prepare(network: nn.Module, input_shape: tuple[int, ...], profile: str = "onnxruntime-x86") -> GraphModule:
    """A fake-quantised graph that computes what ``network`` does, to train as one would the network.

    BatchNorm is folded into the convolutions first: that is what is deployed, and it saves the training
    of statistics that quantisation noise would disturb.

    Raises:
        ModelError: the network cannot be exported, or has no layer that the profile quantises.
    """
    network = copy.deepcopy(network).eval().cpu()
    example = torch.zeros(2, *input_shape)
    try:
        with quiet():
            exported = torch.export.export(network, (example,), dynamic_shapes=({0: Dim("batch")},))
            graph = prepare_pt2e(exported.module(), RuntimeQuantizer(profile))
    except ModelError:
        raise
    except Exception as error:  # tracing runs the user's code, which may raise anything
        raise ModelError(
            f"{type(network).__name__} cannot be exported for quantisation: {first_line(error)}; "
            "avoid branches on the input's values and Python numbers taken from tensors"
        ) from error
    graph.requires_grad_(True)  # folding leaves the biases that it makes without gradients
    if not any(isinstance(module, FakeQuantizeBase) for module in graph.modules()):
        raise ModelError(f"{type(network).__name__} has no convolution or linear layer to quantise")
    return graph


@torch.no_grad()
def calibrate(graph: GraphModule, batches: Iterable[Tensor]) -> None:
    """Sets the ranges from what ``batches`` make of them, so that training starts from sensible scales."""
    graph.apply(enable_observer)
    graph.apply(disable_fake_quant)
    for inputs in batches:
        graph(inputs)
    graph.apply(enable_fake_quant)
    graph.apply(disable_observer)


def observe(graph: nn.Module, on: bool = True) -> None:
    """Lets the ranges follow the data, or holds them."""
    graph.apply(enable_observer if on else disable_observer)


def hold(graph: nn.Module) -> None:
    """The evaluation mode of a fake-quantised graph: its ranges stay as they are."""
    observe(graph, False)


def convert(graph: GraphModule) -> GraphModule:
    """The int8 graph of a trained one, with int8 weights and quantise and dequantise steps; a copy."""
    with quiet():
        return convert_pt2e(copy.deepcopy(graph))
