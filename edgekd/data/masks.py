"""Images with masks: ``train/images/*`` with ``train/masks/*`` of the same names; ``test`` alike, and ``val`` if given.

A mask is a picture of indices (grey of 8 or 16 bits, or with a palette), or of colours. ``classes.txt`` has a line for
each class in the order of its index: its name and, where masks are coloured, its red, green and blue. Pixels of index
255, or of the colour of a line ``ignored``, do not count. A grey picture, or one with a palette, is of colours where
``classes.txt`` has all of them.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from edgekd.data.arrays import unscaled
from edgekd.data.folder import common_shape, loader, log_left_out
from edgekd.data.layouts import folders_of_parts, must_have_masks, no_images
from edgekd.data.legend import CLASSES, Legend, Masks
from edgekd.data.raw import RawData, SourceKeys
from edgekd.errors import DataError
from edgekd.folders import IMAGES, search, several
from edgekd.images import open_image, prepare, reading
from edgekd.log import get_logger
from edgekd.progress import track
from edgekd.tasks.segmentation.masks import IGNORED
from edgekd.tasks.task import Task

if TYPE_CHECKING:
    from PIL import Image

logger = get_logger(__name__)

GREY = ("1", "L", "P")
WITH_ALPHA = ("LA", "La", "PA")
# What a grey picture, or one with a palette, was taken to hold; EITHER where that makes no difference.
COLOURS, INDICES, EITHER = "colours", "indices", "either"


def load_masks(data: SourceKeys, kind: type[Task]) -> RawData:
    """Load images with masks, both resized alike; images stay in memory if they are few, masks always do.

    Raises:
        DataError: a file is missing or does not fit, which the message names; or the task is another.
    """
    assert data.path is not None
    if kind.outputs != "masks":
        raise DataError(
            f"source masks gives a class for each pixel, and the task is {kind.name}: set task: segmentation"
        )
    legend = Legend.read(data.path / CLASSES)
    folders = folders_of_parts(data)
    pairs = {part: _pairs(folder) for part, folder in folders.items()}
    names = {part: np.array([os.fsencode(image) for image, _ in found]) for part, found in pairs.items()}
    shape = common_shape(data, folders["train"] / "images", names["train"])
    make = loader(data, sum(map(len, names.values())), shape)
    samples = {}
    for part, folder in folders.items():
        masks = _masks(data, folder, pairs[part], legend, shape)
        samples[part] = make(data, folder / "images", shape, names[part], masks, part)
    validation = samples.get("validation")
    return RawData(samples["train"], samples["test"], legend.names, "image", shape, validation=validation)


def _pairs(root: Path) -> list[tuple[str, str]]:
    """Return the images below ``root/images``, each with the mask of its name below ``root/masks``."""
    must_have_masks(root)
    images, masks = (search(root / each, IMAGES) for each in ("images", "masks"))
    if not images.files:
        raise no_images(root / "images", images, "name another folder as data.path")
    log_left_out(root / "images", images)
    by_name: dict[str, str] = {}
    for mask in masks.files:
        if (other := by_name.setdefault(_name(mask), mask)) != mask:
            raise DataError(f"{root / 'masks' / mask} and {other} are of one image: remove one")
    found = []
    for image in images.files:
        name = _name(image)
        if name not in by_name:
            raise DataError(
                f"{root / 'images' / image} has no mask {root / 'masks' / name}.png: add it, or remove both"
            )
        found.append((image, by_name[name]))
    if strays := sorted({*masks.files} - {mask for _, mask in found}):
        logger.warning(f"{root / 'masks'}: no image has the name of {several(strays)}: left out")
    return found


def _name(file: str) -> str:
    return str(PurePath(file).with_suffix(""))


def _masks(
    data: SourceKeys, root: Path, pairs: list[tuple[str, str]], legend: Legend, shape: tuple[int, ...]
) -> torch.Tensor:
    found, kinds = torch.empty((len(pairs), *shape[1:]), dtype=torch.uint8), dict[str, str]()
    with ThreadPoolExecutor(max(1, data.workers)) as pool:
        masks = pool.map(partial(_mask, data, root, legend, shape), pairs)
        for index, (mask, kind) in enumerate(track(masks, f"reading {root.name} masks", len(pairs))):
            found[index] = torch.from_numpy(mask)
            kinds.setdefault(kind, pairs[index][1])
    if COLOURS in kinds and INDICES in kinds:
        coloured, indexed = (root / "masks" / kinds[kind] for kind in (COLOURS, INDICES))
        raise DataError(
            f"{coloured} would be read by the colours of {CLASSES}, and {indexed} has others, so that it holds "
            f"indices: leave the colours out of {CLASSES}, or save all masks in colours"
        )
    if (found == IGNORED).all():
        raise DataError(f"{root / 'masks'}: no pixel of any mask counts, so that nothing can be measured: add some")
    return found


def _mask(
    data: SourceKeys, root: Path, legend: Legend, shape: tuple[int, ...], pair: tuple[str, str]
) -> tuple[Masks, str]:
    image, mask = root / "images" / pair[0], root / "masks" / pair[1]
    with reading(mask):
        indices, kind = _indices(open_image(mask), legend)
    with reading(image):
        width, height = prepare(open_image(image)).size
    if indices.shape != (height, width):
        raise DataError(
            f"{mask} has {indices.shape[1]}x{indices.shape[0]} pixels and its image {image} {width}x{height}: "
            "save the mask in the image's size"
        )
    way = unscaled(shape, data.resize).geometry(1, indices.shape)
    found: Masks = way.resample(indices[None], IGNORED)[0]
    return found, kind


def _indices(picture: Image.Image, legend: Legend) -> tuple[Masks, str]:
    """Return the index of each pixel, and what a picture that could hold indices or colours was taken to hold."""
    if picture.format == "JPEG":
        raise DataError("a JPEG changes the pixels of a mask: save it as PNG")
    if picture.mode == "F":
        raise DataError("its pixels are no whole numbers: save the mask with 8 bits")
    if picture.mode in WITH_ALPHA:
        picture = picture.getchannel(0)
    may_be_either = picture.mode in GREY and bool(legend.colours)
    if may_be_either and legend.knows(_colours(picture)):
        found, stored = legend.of_colours(_colours(picture)), np.asarray(picture)
        return found, EITHER if (found == stored).all() else COLOURS
    if picture.mode in GREY or picture.mode.startswith("I"):
        return legend.of_indices(np.asarray(picture)), INDICES if may_be_either else EITHER
    return legend.of_colours(_colours(picture)), EITHER


def _colours(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.convert("RGB"), np.uint8)
