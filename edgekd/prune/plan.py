"""The channel plan: which channels were cut, as plain JSON that any later build of the network can follow."""

from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from edgekd.errors import ModelError

Plan = list[list[Any]]


def apply_plan(network: nn.Module, plan: Plan, input_shape: tuple[int, ...]) -> nn.Module:
    """Cuts the channels of ``plan`` out of a freshly built network, in place.

    Raises:
        ModelError: the plan names layers that the network does not have; it was made for another one.
    """
    layers = dict(network.named_modules())
    missing = [name for name, *_ in plan if name not in layers]
    if missing:
        raise ModelError(f"the channel plan names {missing[0]!r}, which {type(network).__name__} does not have")
    graph = tp.DependencyGraph().build_dependency(network, example_input(network, input_shape))
    graph.load_pruning_history(plan)
    return network


def example_input(network: nn.Module, input_shape: tuple[int, ...]) -> torch.Tensor:
    # Two samples: a BatchNorm in training mode refuses one.
    return torch.zeros(2, *input_shape, device=next(network.parameters()).device)


def widths(network: nn.Module) -> dict[str, int]:
    """Output channels of each convolution and linear layer."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d):
            found[name] = module.out_channels
        elif isinstance(module, nn.Linear):
            found[name] = module.out_features
    return found
