"""Loading of checkpoints, completely or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.log import get_logger
from edgekd.models.checkpoint_file import read_checkpoint, state_dicts
from edgekd.models.choice import choose, shortened
from edgekd.models.values import must_be_weights

logger = get_logger(__name__)

# Checkpoints from before torch 0.4.1 lack it, and nothing that edgekd trains reads it.
BATCH_COUNTER = "num_batches_tracked"
NEW_HEAD = "; new_head: true leaves out this layer, and the rest fits"


@dataclass(frozen=True)
class Checkpoint:
    """A file with a network's weights, and which of them are taken: the arguments of :func:`load_checkpoint`."""

    path: Path
    new_head: bool = False
    key: str | None = None


def load_checkpoint(
    network: nn.Module, path: Path | str, new_head: bool = False, checkpoint_key: str | None = None
) -> None:
    """Load all weights of ``network`` from the checkpoint ``path``.

    It may be a state dict, or hold one inside dicts (``state_dict``, ``model``, ...), with or without a prefix of
    wrappers (``module.``, ``net.``), in any floating type. If several state dicts fit the network, the averaged one is
    loaded (``state_dict_ema``, ``model_ema``, an AveragedModel's). The choice, and what is left out, is logged. Torch
    files are read with ``weights_only=True``: code in them is never run.

    Args:
        new_head: leave out tensors of the last layer (:func:`last_layer`) that have another shape, such as those of a
            classifier with another number of classes; the network keeps its own, which is logged.
        checkpoint_key: the state dict to load: the keys and the prefix of its names, joined by dots, such as
            ``state_dict`` or ``state_dict.student``; ``.`` is the file's outermost state dict.

    Raises:
        ModelError: the file is missing, not a checkpoint, holds code, is for another network, holds several state
            dicts that fit equally well, or values that are no weights; the message lists them.
    """
    path, own = Path(path), network.state_dict()
    counters = {name: value for name, value in own.items() if name.endswith(BATCH_COUNTER)}

    def adopted(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        adopt = getattr(network, "adopt_state_dict", dict)
        return _with_tied(own, {**counters, **adopt(weights)})

    def with_own_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**state, **{name: own[name] for name in _of_other_classes(network, state)}}

    def complaint(weights: Mapping[str, Tensor]) -> str:
        state = adopted(weights)
        return _mismatch(own, with_own_head(state) if new_head else state)

    found = state_dicts(read_checkpoint(path))
    if not found:
        raise ModelError(f"{path} holds no state dict, neither by itself nor under a key; save network.state_dict()")
    choice = choose(found, own, complaint, checkpoint_key, path)
    wrong = complaint(choice.chosen.weights)
    state = adopted(choice.chosen.weights)
    if new_head and not wrong:
        _say_once(_said(path, own, state, _of_other_classes(network, state)))
    if wrong:
        advice = "" if _mismatch(own, with_own_head(state)) else NEW_HEAD
        raise ModelError(f"{path} is not a checkpoint of this {type(network).__name__}: {wrong}{advice}")
    if str(choice):
        _say_once(f"  {path}: {choice}")
    state = with_own_head(state)
    must_be_weights(network, state, path)
    network.load_state_dict(state)


def last_layer(network: nn.Module) -> str:
    """Return the path of the layer that gives the logits: the last registered with a weight of two dimensions."""
    weights = [name for name, parameter in network.named_parameters() if parameter.ndim > 1]
    return weights[-1].rpartition(".")[0] if weights else ""


def _with_tied(own: Mapping[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every name of a weight that layers share what the file has under one: safetensors files hold it once."""
    names: dict[tuple[int, torch.Size], list[str]] = {}
    for name, value in own.items():
        if at := value.data_ptr():  # 0 where there are no values
            names.setdefault((at, value.shape), []).append(name)
    for tied in names.values():
        there = next((name for name in tied if name in state), None)
        if there is not None:
            state |= {name: state[there] for name in tied if name not in state}
    return state


def _of_other_classes(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    head = last_layer(network)
    own = {name: value for name, value in network.state_dict().items() if name.rpartition(".")[0] == head}
    return [name for name in own if name in state and state[name].shape != own[name].shape]


def _said(path: Path, own: Mapping[str, Tensor], state: Mapping[str, Tensor], other: list[str]) -> str:
    if not other:
        return f"  {path}: the last layer has this network's shape, and is loaded with the rest"
    shapes = ", ".join(f"{name} {tuple(state[name].shape)} is {tuple(own[name].shape)} here" for name in other)
    return f"  {path}: the last layer is left out and keeps its new weights: {shapes}"


@cache
def _say_once(line: str) -> None:
    logger.info(line)  # a run builds its networks several times


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
    return "; ".join(f"{kind}: {shortened(names)}" for kind, names in parts if names)
