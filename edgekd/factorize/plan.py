"""The plan of a factorisation: which layers became which factors, as plain JSON that any later build follows.

An entry is ``[layer, method, ranks]``.
"""

from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from edgekd.errors import ModelError
from edgekd.factorize.decomposition import Layer
from edgekd.factorize.registry import DECOMPOSITIONS
from edgekd.models.fold import fold

Plan = list[list[Any]]


def apply_plan(network: nn.Module, plan: Sequence[Sequence[Any]]) -> nn.Module:
    """Replace the layers of ``plan`` in a freshly built network by factors with random weights, in place.

    Computed weights, such as weight norm's, are made plain ones first.

    Raises:
        ModelError: an entry does not fit the network, so that the plan was made for another one, or is no entry at
            all. The network is then as it was.
    """
    fitting = [_entry(network, entry) for entry in plan]
    paths = [path for path, _, _ in fitting]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise ModelError(f"the factorisation's plan names {twice[0]!r} twice; factorise again")
    fold(network)
    for path, method, ranks in fitting:
        replace(network, path, build(method, network.get_submodule(path), ranks))  # type: ignore[arg-type]
    return network


def must_fit(method: str, layer: Layer, ranks: Sequence[int]) -> None:
    """Refuse a method that does not decompose ``layer``, or not at these ranks.

    Raises:
        ModelError: with what the layer takes.
    """
    decomposition = DECOMPOSITIONS.find(method)
    if not decomposition.suits(layer):
        raise ModelError(f"the factorisation method {method!r} is for other layers than {layer}")
    full = decomposition.full(layer)
    if len(ranks) != len(full) or not all(1 <= rank <= most for rank, most in zip(ranks, full, strict=True)):
        raise ModelError(f"{method} takes ranks from 1 to {list(full)} of {layer}, not {list(ranks)}")


def build(method: str, layer: Layer, ranks: Sequence[int]) -> nn.Sequential:
    """Return what replaces ``layer``, with random weights, on its device and in its modes."""
    must_fit(method, layer, ranks)
    replacement = nn.Sequential(*DECOMPOSITIONS[method].structure(layer, tuple(ranks)))
    replacement.to(layer.weight.device, layer.weight.dtype).train(layer.training)
    replacement.requires_grad_(layer.weight.requires_grad)
    if layer.bias is not None:
        cast(nn.Linear, replacement[-1]).bias.requires_grad_(layer.bias.requires_grad)
    return replacement


def replace(network: nn.Module, path: str, module: nn.Module) -> None:
    """Put ``module`` in the place of the one at ``path``, under each name that it goes by."""
    old = network.get_submodule(path)
    paths = [name for name, each in network.named_modules(remove_duplicate=False) if each is old]
    for each in paths:
        parent, _, name = each.rpartition(".")
        setattr(network.get_submodule(parent), name, module)


def _entry(network: nn.Module, entry: Sequence[Any]) -> tuple[str, str, list[int]]:
    match entry:
        case [str(path), str(method), [*ranks]] if method in DECOMPOSITIONS and all(
            type(rank) is int for rank in ranks
        ):
            pass
        case _:
            raise ModelError(
                f"the factorisation's plan holds {str(entry)[:60]}, which is not [layer, method, ranks] with a method "
                f"of {', '.join(sorted(DECOMPOSITIONS))}; factorise again, or bring back the file as it was saved"
            )
    layers = {name: layer for name, layer in network.named_modules() if name}
    if path not in layers:
        raise ModelError(f"the factorisation's plan names {path!r}, which {type(network).__name__} does not have")
    layer = layers[path]
    if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
        raise ModelError(f"the factorisation's plan names {path!r}, which is a {type(layer).__name__} here")
    must_fit(method, layer, ranks)
    return path, method, ranks
