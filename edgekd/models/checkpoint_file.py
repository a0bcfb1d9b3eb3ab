"""Reading of checkpoint files: safetensors, or torch files without running code in them."""

import pickle
import re
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from edgekd.errors import ModelError, first_line

# An optimiser's state has the shapes of the weights, but is not weights.
NO_WEIGHTS = re.compile(r"optim|sched|scaler|callback", re.IGNORECASE)
DEPTH = 4


def read_checkpoint(path: Path) -> object:
    """Return the content of ``path``; code in it is never run.

    Raises:
        ModelError: the file is missing, not a checkpoint, or holds more than tensors.
    """
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise ModelError(f"{path} is {kind}; give the path of a .safetensors, .pt or .pth file")
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {path}; give the path of a .safetensors, .pt or .pth file")
    try:
        if _is_safetensors(path):
            return load_file(path)
        # timm and torchvision store the command's arguments with the weights: plain values in a Namespace.
        with torch.serialization.safe_globals([Namespace]), path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on damage, the unpickler raises IndexError, struct.error, AssertionError and more
        if _is_torchscript(path):
            raise ModelError(
                f"{path} is a TorchScript archive, which holds code; load it with torch.jit.load where you trust it, "
                "and save its state_dict() with torch.save"
            ) from error
        code = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code:
            raise ModelError(
                f"{path} holds more than tensors ({code[1]}), and code in a checkpoint is never run; save "
                "network.state_dict() alone, or convert it to safetensors where you trust it"
            ) from error
        said = isinstance(error, SafetensorError | RuntimeError | OSError)
        reason = first_line(error)[:120] if said else "not what torch.save writes"
        raise ModelError(f"{path} cannot be read as a checkpoint ({reason}); is the file whole?") from error


def state_dicts(content: object, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], dict[str, Tensor]]:
    """Return every state dict in ``content`` by the keys that lead to it, outermost first."""
    if not isinstance(content, Mapping) or len(at) > DEPTH:
        return {}
    own = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    found = {at: own} if own else {}
    for key, value in content.items():
        if isinstance(key, str) and not NO_WEIGHTS.search(key):
            found.update(state_dicts(value, (*at, key)))
    return found


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:9] == b"{" or (path.suffix == ".safetensors" and start[:2] != b"PK")


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.split("/", 1)[-1] == "constants.pkl" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
