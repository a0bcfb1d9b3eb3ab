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


def checked_batches(graph: GraphModule, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield ``batches``, checked to have the shape that ``graph`` was exported for.

    Raises:
        ModelError: there is no batch, or one has another shape.
    """
    [placeholder] = graph.graph.find_nodes(op="placeholder")
    expected = tuple(placeholder.meta["val"].shape[1:])
    seen = 0
    for inputs in batches:
        if tuple(inputs.shape[1:]) != expected:
            shape = ", ".join(map(str, ("N", *expected)))
            raise ModelError(f"calibration data of shape {tuple(inputs.shape)}: the network takes ({shape})")
        seen += len(inputs)
        if len(inputs):
            yield inputs
    if not seen:
        raise ModelError("no calibration data: give at least one batch of inputs")
