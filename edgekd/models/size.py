"""Counts of a network's parameters and multiply-accumulates."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from edgekd.models.inputs import must_take
from edgekd.models.modes import in_evaluation
from edgekd.tasks.signature import Shape, Signature


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, input_shape: Shape | Signature) -> int:
    """Count the multiply-accumulates of one sample in convolutions and matrix products, in evaluation mode.

    Open dimensions have the size that ``input_shape`` gives them in examples.

    Raises:
        ModelError: the network does not run on such an input.
    """
    return int(_counted(network, input_shape).get_total_flops()) // 2


def macs_by_module(network: nn.Module, input_shape: Shape | Signature) -> dict[str, int]:
    """Count the multiply-accumulates of each module that has any, by path; containers include their modules'."""
    prefix = f"{type(network).__name__}."
    counts = _counted(network, input_shape).get_flop_counts()
    return {
        name.removeprefix(prefix): int(sum(flops.values())) // 2
        for name, flops in counts.items()
        if name.startswith(prefix)
    }


def _counted(network: nn.Module, input_shape: Shape | Signature) -> FlopCounterMode:
    example = Signature.of(input_shape).example(1, like=next(network.parameters(), None))
    counter = FlopCounterMode(display=False)
    with must_take(network, example), torch.no_grad(), in_evaluation(network), _unfused_attention(), counter:
        network(*example)
    return counter


@contextmanager
def _unfused_attention() -> Iterator[None]:
    # The counter knows matrix products, but not the fused kernels of attention on a CPU.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
