"""Folding of computed weights, such as those of weight norm and spectral norm, into plain weights.

Pruning and quantisation change a layer's weight, and a weight that is computed from other parameters before each call
would undo that. torch has two mechanisms for such weights, parametrisations and the older hooks.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from edgekd.errors import ModelError, first_line
from edgekd.models.modes import in_evaluation

REMOVE: dict[type, Callable[[nn.Module, str], Any]] = {
    WeightNorm: remove_weight_norm,
    SpectralNorm: remove_spectral_norm,
    prune.BasePruningMethod: prune.remove,
}


def fold(network: nn.Module) -> nn.Module:
    """Replace every computed weight of ``network`` by its present value, in place, and return ``network``.

    Its outputs in evaluation mode stay the same.

    Raises:
        ModelError: a parametrisation cannot be removed; the message names the layer.
    """
    # In training mode spectral norm would take another step of its power iteration.
    with in_evaluation(network):
        for path, module in list(network.named_modules()):
            try:
                _fold(module)
            except Exception as error:  # a parametrisation is the user's code
                raise ModelError(
                    f"the parametrisation of {path or type(network).__name__!r} cannot be folded into plain weights: "
                    f"{first_line(error)}; remove it before the network is given to edgekd"
                ) from error
    return network


def _fold(module: nn.Module) -> None:
    for remove, name in _hooked(module):
        remove(module, name)
    if parametrize.is_parametrized(module):
        assert isinstance(module.parametrizations, nn.ModuleDict)
        values = {name: (_value(module, name), each) for name, each in module.parametrizations.items()}
        # torch's own removal changes the class that copies of the module share, and leaves them without a weight.
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for name, (value, computed) in values.items():
            parts = list(computed.parameters(recurse=False))
            if parts:
                setattr(module, name, nn.Parameter(value, any(part.requires_grad for part in parts)))
            else:
                module.register_buffer(name, value)


def _value(module: nn.Module, name: str) -> torch.Tensor:
    value = getattr(module, name)
    assert isinstance(value, torch.Tensor)
    return value.detach().clone()


def _hooked(module: nn.Module) -> list[tuple[Callable[[nn.Module, str], Any], str]]:
    return [
        (remove, hook._tensor_name if isinstance(hook, prune.BasePruningMethod) else getattr(hook, "name", "weight"))
        for hook in module._forward_pre_hooks.values()
        for kind, remove in REMOVE.items()
        if isinstance(hook, kind)
    ]
