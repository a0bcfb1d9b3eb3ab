"""torchvision's data sets, downloaded if there is a network."""

from pathlib import Path
from typing import Any

import numpy as np

from edgekd.data.arrays import from_arrays
from edgekd.data.raw import RawData, SourceKeys
from edgekd.errors import DataError, first_line

CLASS_NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
# What torchvision's readers raise on a file that is not whole.
DAMAGE = (RuntimeError, AssertionError, ValueError, TypeError, KeyError, IndexError, EOFError)


def load_torchvision(data: SourceKeys) -> RawData:
    """Load the data set that ``data.source`` names from ``data.path``, or download it to there."""
    root = data.path or Path("data")
    parts = {name: _part(data, root, train) for name, train in (("train", True), ("test", False))}
    pairs = {name: (np.asarray(part.data), np.asarray(part.targets)) for name, part in parts.items()}
    return from_arrays(data.source, data, pairs, tuple(parts["train"].classes))


def _part(data: SourceKeys, root: Path, train: bool) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, CLASS_NAMES[data.source])
    try:
        return kind(root=root, train=train, download=False)
    except DAMAGE as error:
        if not str(error).startswith("Dataset not found"):
            raise DataError(
                f"{data.source} in {root} is damaged ({first_line(error)[:120]}); remove it there, to download it "
                "anew or to copy it from a machine that has it"
            ) from error
        if not data.download:
            raise DataError(
                f"{data.source} is not in {root}; set data.path to the folder that holds it, or data.download: true"
            ) from None
    try:
        return kind(root=root, train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{data.source} is not in {root} and cannot be downloaded ({first_line(error)[:120]}); "
            f"connect to a network, or copy torchvision's files there from a machine that has them"
        ) from error
