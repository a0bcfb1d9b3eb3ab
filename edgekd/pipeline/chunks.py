"""Samples as a network takes them, as many at a time as are copied to a device at once."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from edgekd.data import DataSet, Samples
from edgekd.tasks.tensors import Named, arguments_of

CHUNK_BYTES = 256e6


def chunks(data: DataSet, samples: Samples) -> Iterator[NDArray[Any] | dict[str, NDArray[Any]]]:
    """Yield the network's inputs for ``samples``, first to last: an array (N, ...), of several inputs by name."""
    held: list[Named] = []
    for inputs in data.inputs(samples):
        held.append(inputs)
        if sum(tensor.nbytes for part in held for tensor in arguments_of(part)) > CHUNK_BYTES:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(parts: Sequence[Named]) -> NDArray[Any] | dict[str, NDArray[Any]]:
    named = [{"": part} if isinstance(part, torch.Tensor) else part for part in parts]
    joined = {name: torch.cat([part[name] for part in named]).numpy() for name in named[0]}
    return joined[""] if isinstance(parts[0], torch.Tensor) else joined
