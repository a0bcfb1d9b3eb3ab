"""A folder of images without labels, which are trained on beside the labelled ones."""

import os
from pathlib import Path

import numpy as np
import torch

from edgekd.data.folder import maker, own_shapes
from edgekd.data.samples import Samples
from edgekd.errors import DataError
from edgekd.preprocess import IMAGE_ENDINGS
from edgekd.recipe import Data

NO_LABEL = -1


def unlabelled_images(data: Data, root: Path, shape: tuple[int, ...]) -> Samples:
    """All images in ``root`` or deeper, with the label −1, as uint8 images of ``shape`` (C, H, W).

    Hidden files and folders, and links to folders, are left out.

    Raises:
        DataError: there is no such folder, or no image in it, or they are of another shape and ``data`` does not say
            what images become.
    """
    names = _scan(root)
    _must_become(data, root, names, shape)
    make = maker(data, len(names), shape)
    return make(data, root, shape, names, torch.full((len(names),), NO_LABEL), "unlabelled")


def _scan(root: Path) -> np.ndarray:
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: data.unlabelled names a folder of images without labels")
    names: list[bytes] = []
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found = sorted(name for name in files if name.lower().endswith(IMAGE_ENDINGS) and not name.startswith("."))
        inside = Path(place).relative_to(root)
        names += [os.fsencode(inside / name) for name in found]
    if not names:
        raise DataError(f"{root} holds no images ({' '.join(IMAGE_ENDINGS)}): add some, or leave data.unlabelled out")
    return np.array(names)


def _must_become(data: Data, root: Path, names: np.ndarray, shape: tuple[int, ...]) -> None:
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
