"""Keep on disk what networks score without some of their parts: measured again, it takes as long again."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from edgekd.artifact import tensors_of
from edgekd.errors import EdgekdError
from edgekd.files import canonical_json, is_file, locked, read_object, sha256, write_json
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.tensors import Inputs, arguments_of

VERSION = 1


class KeptScores(dict[str, float]):
    """Scores by name, each of which is written to a file when it is set.

    Processes that measure at the same time add to one file. A file that is missing or damaged holds nothing.
    """

    def __init__(self, path: Path):
        self.path = path
        super().__init__(self._read())

    def __setitem__(self, name: str, score: float) -> None:
        super().__setitem__(name, score)
        with locked(self.path, f"the scores in {self.path}"):
            self.update(self._read() | self)
            write_json(self.path, plain_numbers(self))

    def _read(self) -> dict[str, float]:
        try:
            return read_numbers(read_object(self.path, "it is made again") if is_file(self.path) else {})
        except EdgekdError:
            return {}


def plain_numbers(scores: dict[str, float]) -> dict[str, float | str]:
    """Return ``scores`` as JSON holds them, which has no NaN: :func:`read_numbers` reads it from a string."""
    return {name: each if math.isfinite(each) else str(each) for name, each in scores.items()}


def read_numbers(values: Any) -> dict[str, float]:
    """Return what :func:`plain_numbers` gave; nothing of what it did not give."""
    try:
        return {str(name): float(value) for name, value in values.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def content_key(network: nn.Module, input_shape: Shape | Signature, batches: Sequence[Inputs]) -> str:
    """Hash a network's layers and weights, its inputs, and the batches that its scores depend on."""
    signature, tensors = Signature.of(input_shape), tensors_of(network)
    for index, batch in enumerate(batches):
        for place, tensor in enumerate(arguments_of(batch)):
            tensors[f"batch {index}.{place}" if place else f"batch {index}"] = tensor
    content = save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()})
    taken = signature.inputs[0].shape if signature.is_single else signature.to_json()
    return sha256(canonical_json([VERSION, str(network), taken]) + content)
