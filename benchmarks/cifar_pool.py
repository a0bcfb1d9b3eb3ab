"""A source of data for benchmarks/fit.py: images in class folders, of which each seed draws others."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgekd.data.folder import load_folder
from edgekd.data.options import Data
from edgekd.data.samples import Samples
from edgekd.errors import DataError
from edgekd.tasks.tensors import only

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


def drawn(folder: str, train: int, validation: int, test: int, seed: int = 0) -> dict[str, Any]:
    """Return so many images of each part: ``test`` of ``test/<class>/*``, the others of ``train/<class>/*``.

    All classes have as many, but for one. Files are read as the source ``folder`` reads them, those that are drawn.
    """
    source = load_folder(Data(source="folder", path=Path(folder), in_memory=False, workers=0))
    learned, tested = (_order(samples, seed) for samples in (source.train, source.test))
    for part, order, count in (("train", learned, train + validation), ("test", tested, test)):
        if count > len(order):
            raise DataError(f"{folder}: {part} has {len(order)} images, and {count} are to be drawn; add some")
    return {
        "train": _read(source.train, learned[:train]),
        "val": _read(source.train, learned[train : train + validation]),
        "test": _read(source.test, tested[:test]),
        "classes": list(source.classes),
    }


def _order(samples: Samples, seed: int) -> NDArray[np.intp]:
    """Return all indices of ``samples``, the classes in turns and each in an order of its own."""
    labels, draws = samples.labels.numpy(), np.random.default_rng(seed)
    turns = np.empty(len(labels), np.intp)
    for each in np.unique(labels):
        own = np.flatnonzero(labels == each)
        turns[draws.permutation(own)] = np.arange(len(own))
    return np.lexsort((labels, turns))


def _read(samples: Samples, indices: NDArray[np.intp]) -> Arrays:
    chosen = samples.select(torch.from_numpy(indices))
    ((images, labels),) = chosen.stream([torch.arange(len(chosen))])
    return only(images).numpy(), labels.numpy()
