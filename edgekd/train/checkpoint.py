"""Checkpoints of a training: one safetensors file, named by its step and its content's hash."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from edgekd.artifact import fill, tensors_of
from edgekd.files import is_file, make_folder, sha256, write_bytes
from edgekd.log import get_logger
from edgekd.train import distributed
from edgekd.train.history import History, history_from_json, history_to_json

logger = get_logger(__name__)

PATTERN = "step-*.safetensors"
NAME = re.compile(r"step-\d{8,}-[0-9a-f]{16}\.safetensors")


@dataclass
class State:
    """The state of a training loop at one step, apart from its tensors."""

    step: int = 0
    history: History = field(default_factory=list)
    loss_sum: float = 0.0
    term_sums: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def from_json(document: dict[str, Any]) -> "State":
        """Read what :meth:`to_json` gave."""
        return State(**{**document, "history": history_from_json(document["history"])})

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the state."""
        return {**vars(self), "history": history_to_json(self.history)}


def save_state(folder: Path, state: State, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
    """Save a checkpoint, and remove the older ones after it is written, so that a whole one is there at any moment."""
    tensors = {f"{name}/{key}": t for name, module in modules.items() for key, t in tensors_of(module).items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": torch.as_tensor(value) for key, value in slots.items()}
    contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    content = save(contiguous, {"state": json.dumps(state.to_json())})
    old = _files(make_folder(folder))
    new = folder / f"step-{state.step:08d}-{sha256(content)[:16]}.safetensors"
    write_bytes(new, content)
    for path in old:
        if path != new:
            path.unlink()


def load_state(folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> State:
    """Restore the newest whole checkpoint in ``folder``; return its state, or a fresh one if there is none.

    Rank 0 reads it for all.
    """
    state, content = distributed.on_rank_zero(lambda: _newest(folder))
    if content:
        tensors = load(content)
        for name, module in modules.items():
            prefix = f"{name}/"
            fill(module, {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)})
        _restore_optimizer(optimizer, tensors)
    return state


def _files(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path for path in folder.glob(PATTERN) if NAME.fullmatch(path.name) and is_file(path))


def _newest(folder: Path) -> tuple[State, bytes]:
    for path in reversed(_files(folder)):
        content = path.read_bytes()
        if path.stem.endswith(sha256(content)[:16]):
            with safe_open(path, "pt") as file:
                return State.from_json(json.loads(file.metadata()["state"])), content
        logger.warning(f"{path} is damaged; it is not used, and the training goes on from before it")
    return State(), b""


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "optimizer":
            index, key = rest.split("/")
            slots.setdefault(int(index), {})[key] = value
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, slot in slots.items():
        parameter = parameters[number]
        for key, value in slot.items():
            # Strides decide which kernel runs, and so the last bits: they follow the parameter's.
            restored = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
            optimizer.state[parameter][key] = restored
