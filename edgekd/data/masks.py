"""Images with masks: ``train/images/*`` with ``train/masks/*``, and ``test`` alike, by the same names.

A mask is a picture of indices (grey, or with a palette), or of colours. ``classes.txt`` has a line for each class in
the order of its index: its name and, where masks are coloured, its red, green and blue. Pixels of index 255, or of the
colour of a line ``ignored``, do not count.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath

import numpy as np
import torch
from numpy.typing import NDArray

from edgekd.data.arrays import unscaled
from edgekd.data.folder import common_shape, loader, log_left_out, no_images
from edgekd.data.raw import RawData, SourceKeys
from edgekd.errors import DataError
from edgekd.files import read_content
from edgekd.folders import IMAGES, search
from edgekd.images import open_image, prepare, reading
from edgekd.progress import track
from edgekd.tasks.segmentation.masks import IGNORED, MOST_CLASSES
from edgekd.tasks.task import Task

CLASSES = "classes.txt"
LAYOUT = "images with masks lie in train/images, train/masks, test/images and test/masks"
COLOUR = re.compile(r"(.+?)\s+(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})")
OUTSIDE = "ignored"

Masks = NDArray[np.uint8]


@dataclass(frozen=True)
class Legend:
    """The classes of masks, and the index of each colour, as one number, where masks are coloured."""

    names: tuple[str, ...]
    colours: dict[int, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Legend":
        """Read ``classes.txt``.

        Raises:
            DataError: it is missing, or a line is no class; the message names the line.
        """
        names: list[str] = []
        colours: dict[int, int] = {}
        for number, text in enumerate(_text(path).splitlines(), 1):
            where, line = f"{path}:{number}", text.strip()
            if not line:
                raise DataError(
                    f"{where}: the line is empty; write a class's name, and its colour where masks have them"
                )
            coloured = COLOUR.fullmatch(line)
            name = coloured[1] if coloured else line
            if name != OUTSIDE:
                names.append(name)
            if not coloured:
                continue
            colour = _one_number([int(each) for each in coloured.groups()[1:]], where)
            if colour in colours:
                raise DataError(f"{where}: {line!r} has the colour of another line; give each class its own")
            colours[colour] = IGNORED if name == OUTSIDE else len(names) - 1
        if not 0 < len(names) <= MOST_CLASSES:
            raise DataError(f"{path} names {len(names)} classes; name 1 to {MOST_CLASSES}, one on each line")
        return cls(tuple(names), colours)

    def indices(self, pixels: NDArray[np.uint8]) -> Masks:
        """Return the index of each pixel's class, from indices (H, W) or colours (H, W, 3).

        Raises:
            DataError: a pixel is of no class; the message says where.
        """
        if pixels.ndim == 2:
            return self._checked(pixels)
        numbers = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        found, places = np.unique(numbers, return_inverse=True)
        table = np.array([self.colours.get(each, -1) for each in found.tolist()])
        indices = table[places].reshape(numbers.shape)
        if (indices < 0).any():
            y, x = np.argwhere(indices < 0)[0].tolist()
            raise DataError(
                f"the colour {tuple(pixels[y, x].tolist())} at x {x}, y {y} is in no line of {CLASSES}: add its class, "
                f"or a line '{OUTSIDE} R G B'"
            )
        return indices.astype(np.uint8)

    def _checked(self, indices: Masks) -> Masks:
        wrong = np.argwhere((indices >= len(self.names)) & (indices != IGNORED))
        if len(wrong):
            y, x = wrong[0].tolist()
            raise DataError(
                f"the class {indices[y, x]} at x {x}, y {y}, and {CLASSES} names the classes 0 to "
                f"{len(self.names) - 1}: add its line, or write {IGNORED} where a pixel does not count"
            )
        return indices


def _text(path: Path) -> str:
    try:
        return read_content(path, DataError).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8; save it as such, one class on each line") from error


def _one_number(colour: list[int], where: str) -> int:
    if max(colour) > 255:
        raise DataError(f"{where}: a colour is red, green and blue of 0 to 255 each")
    red, green, blue = colour
    return red << 16 | green << 8 | blue


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
    pairs = {part: _pairs(data.path / part) for part in ("train", "test")}
    names = {part: np.array([os.fsencode(image) for image, _ in found]) for part, found in pairs.items()}
    folder = data.path / "train" / "images"
    shape = common_shape(data, folder, names["train"])
    make = loader(data, sum(map(len, names.values())), shape)
    samples = []
    for part, found in pairs.items():
        masks = _masks(data, data.path / part, found, legend, shape)
        samples.append(make(data, data.path / part / "images", shape, names[part], masks, part))
    return RawData(samples[0], samples[1], legend.names, "image", shape)


def _pairs(root: Path) -> list[tuple[str, str]]:
    """Return the images below ``root/images``, each with the mask of its name below ``root/masks``."""
    for each in ("images", "masks"):
        if not (root / each).is_dir():
            raise DataError(f"there is no folder {root / each}: {LAYOUT}")
    images, masks = (search(root / each, IMAGES) for each in ("images", "masks"))
    if not images.files:
        raise no_images(root / "images", images, "name another folder as data.path")
    log_left_out(root / "images", images)
    by_name = {str(PurePath(name).with_suffix("")): name for name in masks.files}
    found = []
    for image in images.files:
        name = str(PurePath(image).with_suffix(""))
        if name not in by_name:
            raise DataError(
                f"{root / 'images' / image} has no mask {root / 'masks' / name}.png: add it, or remove both"
            )
        found.append((image, by_name[name]))
    return found


def _masks(
    data: SourceKeys, root: Path, pairs: list[tuple[str, str]], legend: Legend, shape: tuple[int, ...]
) -> torch.Tensor:
    found = torch.empty((len(pairs), *shape[1:]), dtype=torch.uint8)
    with ThreadPoolExecutor(max(1, data.workers)) as pool:
        masks = pool.map(partial(_mask, data, root, legend, shape), pairs)
        for index, mask in enumerate(track(masks, f"reading {root.name} masks", len(pairs))):
            found[index] = torch.from_numpy(mask)
    return found


def _mask(data: SourceKeys, root: Path, legend: Legend, shape: tuple[int, ...], pair: tuple[str, str]) -> Masks:
    image, mask = root / "images" / pair[0], root / "masks" / pair[1]
    with reading(mask):
        picture = open_image(mask)
        is_indexed = picture.mode in ("L", "P", "1")
        indices = legend.indices(np.asarray(picture if is_indexed else picture.convert("RGB"), np.uint8))
    with reading(image):
        width, height = prepare(open_image(image)).size
    if indices.shape != (height, width):
        raise DataError(
            f"{mask} has {indices.shape[1]}x{indices.shape[0]} pixels and its image {image} {width}x{height}: "
            "save the mask in the image's size"
        )
    way = unscaled(shape, data.resize).geometry(1, indices.shape)
    found: Masks = way.resample(indices[None], IGNORED)[0]
    return found
