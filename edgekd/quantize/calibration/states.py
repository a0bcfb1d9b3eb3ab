"""States of a prepared graph: in float, or with frozen ranges; and batches that fit it."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.fx import GraphModule
from torchao.quantization.pt2e import disable_fake_quant, disable_observer

from edgekd.errors import ModelError
from edgekd.quantize.fake_quant import fake_quants
from edgekd.quantize.layerwise import inputs_of
from edgekd.tasks.tensors import Inputs, arguments_of


@contextmanager
def as_float(graph: GraphModule) -> Iterator[None]:
    """Disable fake-quants and observers within the context, and restore them on leaving."""
    modules = fake_quants(graph).values()
    before = [(bool(module.fake_quant_enabled), bool(module.observer_enabled)) for module in modules]
    graph.apply(disable_fake_quant)
    graph.apply(disable_observer)
    try:
        yield
    finally:
        for module, (quantises, observes) in zip(modules, before, strict=True):
            module.enable_fake_quant(quantises)
            module.enable_observer(observes)


def float_copy(graph: GraphModule) -> GraphModule:
    """Return a copy of ``graph`` without quantisation; its nodes have the same names."""
    reference = copy.deepcopy(graph)
    reference.apply(disable_fake_quant)
    reference.apply(disable_observer)
    return reference


def freeze_calibrated(graph: GraphModule) -> None:
    """Freeze the ranges of a calibrated graph; fake-quants stay enabled or disabled as they are.

    Raises:
        ModelError: a range was never set.
    """
    for name, module in fake_quants(graph).items():
        if not (torch.isfinite(module.min_val).all() and torch.isfinite(module.max_val).all()):
            raise ModelError(f"the range of {name} was never set; calibrate the graph first")
    graph.apply(disable_observer)


def checked_batches(graph: GraphModule, batches: Iterable[Inputs]) -> Iterator[tuple[Tensor, ...]]:
    """Yield the arguments of a call for each of ``batches``, checked to be those that ``graph`` was exported for.

    Raises:
        ModelError: there is no batch, or one has other inputs, or another shape.
    """
    expected = {node.name: node.meta["val"] for node in inputs_of(graph.graph)}
    seen = 0
    for batch in batches:
        arguments = arguments_of(batch)
        if len(arguments) != len(expected):
            raise ModelError(
                f"calibration data of {len(arguments)} inputs: the network takes {', '.join(expected)}, in this order"
            )
        for (name, wanted), tensor in zip(expected.items(), arguments, strict=True):
            if not _fits(tensor, wanted):
                taker = f"input {name!r}" if len(expected) > 1 else "the network"
                raise ModelError(f"calibration data of shape {_described(tensor)}: {taker} takes {_described(wanted)}")
        seen += len(arguments[0])
        if len(arguments[0]):
            yield arguments
    if not seen:
        raise ModelError("no calibration data: give at least one batch of inputs")


def _fits(tensor: Tensor, wanted: Tensor) -> bool:
    if tensor.ndim != wanted.ndim or tensor.is_floating_point() != wanted.is_floating_point():
        return False
    if tensor.is_floating_point() and tensor.dtype != wanted.dtype:
        return False
    # An open dimension is a symbol there.
    return all(own == size for own, size in zip(tensor.shape[1:], wanted.shape[1:], strict=True) if type(size) is int)


def _described(tensor: Tensor) -> str:
    batch, *sizes = (
        size if type(size) is int else "N" if axis == 0 else "any" for axis, size in enumerate(tensor.shape)
    )
    kind = "" if tensor.dtype == torch.float32 else f" of {str(tensor.dtype).removeprefix('torch.')}"
    return f"({', '.join(map(str, (batch, *sizes)))}){kind}"
