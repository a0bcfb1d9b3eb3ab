"""The network that does not read what was cut, found from the weights alone: each that is left has its own value."""

import copy

import torch
from torch import Tensor, nn


def masked(whole: nn.Module, pruned: nn.Module) -> nn.Module:
    """A copy of ``whole`` in which no layer that is left reads a channel that ``pruned`` does not have.

    All values of a weight must differ. The two have the same modules, and no computed weights.
    """
    network = copy.deepcopy(whole)
    layers = dict(network.named_modules())
    kept = dict(pruned.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, weight in network.named_parameters(remove_duplicate=False):
            path, _, own = name.rpartition(".")
            if weight.shape == kept[name].shape:
                continue
            left = torch.isin(weight, kept[name])
            assert int(left.sum()) == kept[name].numel(), f"{name} is no part of what it was"
            if own.startswith(("weight", "mix", "kernel")) and weight.ndim > 1:
                weight[_unread(left, layers[path])] = 0
    return network


def _unread(left: Tensor, layer: nn.Module) -> Tensor:
    """What is gone of outputs that are left; inputs come first in a transposed convolution."""
    flat = left.flatten(2).any(2) if left.ndim > 2 else left
    rows = flat.any(0 if getattr(layer, "transposed", False) else 1)
    if getattr(layer, "transposed", False) and layer.groups > 1:  # type: ignore[union-attr]
        outputs = ~flat  # which group an output is of shows in the inputs that are left
        width = len(flat) // layer.groups  # type: ignore[operator]
        alive = flat.view(-1, width, flat.shape[1]).any(1).repeat_interleave(width, 0)
        gone = outputs & alive
    else:
        gone = ~flat & (rows[None] if getattr(layer, "transposed", False) else rows[:, None])
    return gone.view(*gone.shape, *[1] * (left.ndim - 2)).expand_as(left)
