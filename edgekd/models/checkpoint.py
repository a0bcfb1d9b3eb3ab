"""Weights trained elsewhere: safetensors, or torch files read without running what is in them."""

import pickle
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edgekd.errors import ModelError, first_line
from edgekd.progress import say

NESTED = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema")
PREFIXES = ("module.", "_orig_mod.", "model.")
SHOWN = 4
# Checkpoints from before torch 0.4.1 lack it, and nothing that edgekd trains reads it.
BATCH_COUNTER = "num_batches_tracked"


def load_checkpoint(network: nn.Module, path: Path, new_head: bool = False) -> None:
    """Loads ``path`` into ``network``, every weight of it.

    Takes a state dict by itself or inside a dict (``state_dict``, ``model``, ...), with or without the
    prefixes that wrappers leave (``module.``), in any floating type. Torch files are read with
    ``weights_only=True``: code in them is never run.

    Args:
        new_head: leave out those tensors of the last layer (:func:`last_layer`) that have another shape, such as a
            classifier's of another number of classes; the network keeps its own, and standard error says so.

    Raises:
        ModelError: the file is missing, not a checkpoint, holds code, or is for another network; the
            message lists missing and unexpected names and the shapes that differ.
    """
    state = _strip(_read(path), network)
    adopt = getattr(network, "adopt_state_dict", None)
    if adopt is not None:
        state = adopt(state)
    other = _of_other_classes(network, state)
    own = network.state_dict()
    if new_head:
        _say_once(_said(path, own, state, other))
        state = {**state, **{name: own[name] for name in other}}
    state = {**{name: value for name, value in own.items() if name.endswith(BATCH_COUNTER)}, **state}
    complaint = _mismatch(own, state)
    if complaint:
        rest = _mismatch(own, {**state, **{name: own[name] for name in other}})
        advice = "" if rest else "; new_head: true leaves out this layer, and the rest fits"
        raise ModelError(f"{path} is not a checkpoint of this {type(network).__name__}: {complaint}{advice}")
    network.load_state_dict(state)


def last_layer(network: nn.Module) -> str:
    """The path of the layer that gives the logits: the last that was registered with a weight of two dimensions."""
    weights = [name for name, parameter in network.named_parameters() if parameter.ndim > 1]
    return weights[-1].rpartition(".")[0] if weights else ""


def _of_other_classes(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    head = last_layer(network)
    own = {name: value for name, value in network.state_dict().items() if name.rpartition(".")[0] == head}
    return [name for name in own if name in state and state[name].shape != own[name].shape]


def _said(path: Path, own: Mapping[str, Tensor], state: Mapping[str, Tensor], other: list[str]) -> str:
    if not other:
        return f"  {path}: the last layer has this network's shape, and is loaded with the rest"
    shapes = ", ".join(f"{name} {tuple(state[name].shape)} is {tuple(own[name].shape)} here" for name in other)
    return f"  {path}: the last layer is left out and starts anew: {shapes}"


@cache
def _say_once(line: str) -> None:
    say(line)  # a run builds its networks several times


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {path}; give the path of a .safetensors, .pt or .pth file")
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # on damage, the unpickler raises IndexError, struct.error, AssertionError and more
        code = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code:
            raise ModelError(
                f"{path} holds more than tensors ({code[1]}), and code in a checkpoint is never run; save "
                "network.state_dict() alone, or convert it to safetensors where you trust it"
            ) from error
        said = isinstance(error, SafetensorError | RuntimeError | OSError)
        reason = first_line(error)[:120] if said else "not what torch.save writes"
        raise ModelError(f"{path} cannot be read as a checkpoint ({reason}); is the file whole?") from error
    return _state_dict(content, path)


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return {str(name): value for name, value in content.items()}
        content = next((content[key] for key in NESTED if key in content), None)
    raise ModelError(f"{path} holds no state dict, neither by itself nor under {', '.join(NESTED)}")


def _strip(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    own = network.state_dict().keys()
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in state) and not any(name.startswith(prefix) for name in own):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _mismatch(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    parts = [
        ("missing", [f"{n} {tuple(own[n].shape)}" for n in own if n not in state]),
        ("unexpected", [f"{n} {tuple(state[n].shape)}" for n in state if n not in own]),
        (
            "other shapes",
            [
                f"{n} is {tuple(state[n].shape)}, the network has {tuple(own[n].shape)}"
                for n in own
                if n in state and state[n].shape != own[n].shape
            ],
        ),
    ]
    return "; ".join(f"{what}: {_some(names)}" for what, names in parts if names)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
