"""Image folders: ``train/<class>/*``, ``test/<class>/*`` and, if given, ``val/<class>/*``; in memory or streamed."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgekd.data.arrays import image_shape, unscaled
from edgekd.data.layouts import class_folders, folders_of_parts, no_images
from edgekd.data.raw import RawData, SourceKeys
from edgekd.data.samples import InMemory, Samples, Streamed
from edgekd.errors import DataError
from edgekd.folders import IMAGES, LINK, OUTSIDE, Found, search
from edgekd.images import open_image, planes, prepare, reading, shape_of
from edgekd.log import get_logger
from edgekd.preprocess import Preprocess
from edgekd.progress import track

logger = get_logger(__name__)

IN_MEMORY_BYTES = 512 << 20
LOOKED_AT = 64
# Handing a small image to a thread takes as long as reading it.
READ_AT_ONCE = 32
# How pixels are made of a file's bytes; bytes stand for the pixels of streamed samples in fingerprints.
DECODING = b"upright, over white\n"


def load_folder(data: SourceKeys) -> RawData:
    """Load an image folder; images stay in memory if they are few."""
    assert data.path is not None
    folders = folders_of_parts(data)
    classes = class_folders(list(folders.values()))
    found = {part: _scan(folder, classes) for part, folder in folders.items()}
    shape = common_shape(data, data.path, found["train"][0])
    make = loader(data, sum(len(names) for names, _ in found.values()), shape)
    parts = {part: make(data, data.path, shape, names, labels, part) for part, (names, labels) in found.items()}
    return RawData(parts["train"], parts["test"], classes, "image", shape, validation=parts.get("validation"))


def _scan(root: Path, classes: tuple[str, ...]) -> tuple[np.ndarray, Tensor]:
    """All images of ``classes``, each in its class's folder or deeper, and their labels."""
    whole, counts = Found(IMAGES), []
    for name in classes:
        found = search(root / name, IMAGES)
        if not found.files:
            raise no_images(root / name, found, "remove the folder of that class")
        whole.add(found, f"{root.name}/{name}")
        counts.append(len(found.files))
    outside = search(root, IMAGES, deep=False)
    del outside.left_out[LINK]  # which classes may be
    whole.left_out += outside.left_out + Counter({OUTSIDE: len(outside.files)})
    whole.of_other_kinds += outside.of_other_kinds
    log_left_out(root, whole)
    labels = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(counts))
    return np.array([os.fsencode(name) for name in whole.files]), labels


def log_left_out(root: Path, found: Found) -> None:
    """Log how many files of ``root`` are not read, and why."""
    if summary := found.summary():
        logger.info(f"{root}: {summary}")


def own_shapes(root: Path, names: np.ndarray) -> set[tuple[int, int, int]]:
    """Return the shapes (C, H, W) of some of the images, as they are in their files."""
    chosen = np.unique(np.linspace(0, len(names) - 1, LOOKED_AT).astype(int))
    return {_own_shape(path_of(root, names[index])) for index in chosen}


def _own_shape(path: Path) -> tuple[int, int, int]:
    with reading(path):
        return shape_of(prepare(open_image(path)))


def path_of(root: Path, name: bytes) -> Path:
    return root / os.fsdecode(bytes(name))


def common_shape(data: SourceKeys, root: Path, names: np.ndarray) -> tuple[int, ...]:
    """Return the shape that all images take: what the recipe says, and where it says nothing, what they all have.

    Raises:
        DataError: the recipe says nothing, and they differ.
    """
    found = own_shapes(root, names)
    first = min(found)
    if data.image_size is None and (len({shape[1:] for shape in found}) > 1 or first[1] != first[2]):
        sizes = ", ".join(sorted({f"{width}x{height}" for _, height, width in found})[:4])
        raise DataError(f"{root}: images of {sizes} pixels: set data.image_size, the side all images are resized to")
    if data.grayscale is None and len({shape[0] for shape in found}) > 1:
        raise DataError(f"{root}: some images are grey and some coloured: set data.grayscale to true or false")
    return image_shape(data, first)


@dataclass(frozen=True)
class Reader:
    """A function that reads an image by its name in ``root``, and refuses what it is not allowed to convert."""

    root: Path
    into: Preprocess
    any_size: bool
    any_colour: bool

    def __call__(self, name: bytes) -> Tensor:
        path = path_of(self.root, name)
        with reading(path):
            image = self.into.prepare(open_image(path))
            channels, height, width = shape_of(image)
            if not self.any_size and (height, width) != self.into.shape[1:]:
                raise DataError(
                    f"has {width}x{height} pixels, others {self.into.shape[2]}x{self.into.shape[1]}: set "
                    "data.image_size, the side all images are resized to"
                )
            if not self.any_colour and channels != self.into.shape[0]:
                raise DataError(
                    f"is {'grey' if channels == 1 else 'coloured'}, others are not: set data.grayscale to true or false"
                )
            return torch.from_numpy(self.into.fit(image))

    def own_size(self, name: bytes) -> np.ndarray:
        """Return the image as uint8 (C, H, W) in the network's colours, at the size that it has in its file."""
        path = path_of(self.root, name)
        with reading(path):
            return planes(self.into.in_colour(self.into.prepare(open_image(path))))


def reader(data: SourceKeys, root: Path, shape: tuple[int, ...]) -> Reader:
    return Reader(root, unscaled(shape, data.resize), data.image_size is not None, data.grayscale is not None)


def loader(data: SourceKeys, count: int, shape: tuple[int, ...]) -> Callable[..., Samples]:
    """Choose the function of (data, root, shape, names, labels, part) that loads samples: into memory, or streamed."""
    fits = count * int(np.prod(shape)) <= IN_MEMORY_BYTES
    return _load if (fits if data.in_memory is None else data.in_memory) else _streamed


def _load(
    data: SourceKeys, root: Path, shape: tuple[int, ...], names: np.ndarray, labels: Tensor, part: str
) -> Samples:
    raw, read = torch.empty((len(names), *shape), dtype=torch.uint8), reader(data, root, shape)
    chunks = np.array_split(names, max(1, len(names) // READ_AT_ONCE))
    with ThreadPoolExecutor(max(1, data.workers)) as pool:
        images = chain.from_iterable(pool.map(lambda part: [read(name) for name in part], chunks))
        for index, image in enumerate(track(images, f"reading {part} images", len(names))):
            raw[index] = image
    return InMemory(raw, labels, names, read.own_size)


def _streamed(
    data: SourceKeys, root: Path, shape: tuple[int, ...], names: np.ndarray, labels: Tensor, part: str
) -> Samples:
    # The test set decides what may be compared, so its bytes count; reading all bytes of a training set
    # of a million images would take as long as an epoch, so there a file's size and date stand for it.
    signature = partial(_contents, root) if part == "test" else partial(_dates, root, part)
    read = reader(data, root, shape)
    return Streamed(read, names, labels, signature, data.workers, partial(path_of, root), read.own_size)


def _contents(root: Path, names: np.ndarray) -> str:
    digest = hashlib.sha256(DECODING)
    for name in track(names, "fingerprint of the test images", len(names)):
        digest.update(name + b"\0" + path_of(root, name).read_bytes())
    return digest.hexdigest()


def _dates(root: Path, part: str, names: np.ndarray) -> str:
    digest = hashlib.sha256(DECODING)
    for name in track(names, f"fingerprint of the {part} images", len(names)):
        status = path_of(root, name).stat()
        digest.update(f"{name!r} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
