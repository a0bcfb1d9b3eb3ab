"""A folder of images without labels, which are trained on together with the labelled ones."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgekd.data.folder import loader, log_left_out, own_shapes
from edgekd.data.layouts import no_images
from edgekd.data.raw import SourceKeys
from edgekd.data.samples import Samples
from edgekd.errors import DataError
from edgekd.folders import IMAGES, search


def no_classes(count: int) -> Tensor:
    return torch.full((count,), -1)


def unlabelled_images(
    data: SourceKeys, root: Path, shape: tuple[int, ...], unknown: Callable[[int], Tensor] = no_classes
) -> Samples:
    """Load all images in ``root`` or deeper, as uint8 images of ``shape`` (C, H, W).

    What is left out is logged, hidden files and folders aside (:mod:`edgekd.folders`).

    Args:
        unknown: gives the targets of so many images; −1 for each if left out, as for classes.

    Raises:
        DataError: there is no such folder, or no image in it, or they are of another shape and ``data`` does not say
            what images become.
    """
    names = _scan(root)
    _must_become(data, root, names, shape)
    load = loader(data, len(names), shape)
    return load(data, root, shape, names, unknown(len(names)), "unlabelled")


def _scan(root: Path) -> np.ndarray:
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: data.unlabelled names a folder of images without labels")
    found = search(root, IMAGES)
    if not found.files:
        raise no_images(root, found, "leave data.unlabelled out")
    log_left_out(root, found)
    return np.array([os.fsencode(name) for name in found.files])


def _must_become(data: SourceKeys, root: Path, names: np.ndarray, shape: tuple[int, ...]) -> None:
    for channels, height, width in sorted(own_shapes(root, names)):
        if data.image_size is None and (height, width) != shape[1:]:
            raise DataError(
                f"{root}: images of {width}x{height} pixels, the labelled ones are {shape[2]}x{shape[1]}: set "
                "data.image_size, the side all images are resized to"
            )
        if data.grayscale is None and channels != shape[0]:
            is_, are = ("grey", "coloured") if channels == 1 else ("coloured", "grey")
            raise DataError(
                f"{root}: some images are {is_}, the labelled ones are {are}: set data.grayscale to true or false"
            )
