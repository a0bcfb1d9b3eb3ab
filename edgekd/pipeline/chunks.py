"""Samples as a network takes them, as many at a time as are copied to a device at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgekd.data import DataSet, Samples, in_order
from edgekd.tasks.tensors import only

CHUNK_BYTES = 256e6


def chunks(data: DataSet, samples: Samples) -> Iterator[NDArray[np.float32]]:
    held: list[NDArray[np.float32]] = []
    for raw, _ in in_order(samples, data.batch_size):
        held.append(only(data.to_input(raw)).numpy())
        if sum(part.nbytes for part in held) > CHUNK_BYTES:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)
