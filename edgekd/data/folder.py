"""Image folders: ``train/<class>/*`` and ``test/<class>/*``, in memory when small and streamed when large."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from edgekd.data.arrays import image_shape
from edgekd.data.registry import SOURCES, Source
from edgekd.data.samples import InMemory, Samples, Streamed
from edgekd.errors import DataError
from edgekd.preprocess import IMAGE_ENDINGS, Preprocess
from edgekd.progress import track
from edgekd.recipe import Data

IN_MEMORY_BYTES = 512 << 20
LOOKED_AT = 64


@SOURCES.register("folder")
def folder(data: Data) -> Source:
    assert data.path is not None
    classes = _classes(data.path)
    names, labels = {}, {}
    for part in ("train", "test"):
        names[part], labels[part] = _scan(data.path / part, classes)
    shape = _shape(data, data.path, names["train"])
    make = maker(data, sum(map(len, names.values())), shape)
    parts = [make(data, data.path, shape, names[part], labels[part], part) for part in ("train", "test")]
    return Source(parts[0], parts[1], classes, "image", shape)


def _classes(root: Path) -> tuple[str, ...]:
    layout = "an image folder holds train/<class>/* and test/<class>/*"
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise DataError(f"there is no folder {root / part}: {layout}")
    train, test = (
        {entry.name for entry in os.scandir(root / part) if entry.is_dir() and not entry.name.startswith(".")}
        for part in ("train", "test")
    )
    if train != test:
        only = ", ".join(sorted(train ^ test)[:5])
        raise DataError(f"{root}: train and test do not have the same class folders; in one only: {only}")
    if not train:
        raise DataError(f"{root / 'train'} has no class folders: {layout}")
    return tuple(sorted(train))


def _scan(root: Path, classes: tuple[str, ...]) -> tuple[np.ndarray, Tensor]:
    names: list[bytes] = []
    counts = []
    for name in classes:
        found = sorted(e.name for e in os.scandir(root / name) if e.name.lower().endswith(IMAGE_ENDINGS))
        if not found:
            raise DataError(
                f"{root / name} holds no images ({' '.join(IMAGE_ENDINGS)}): "
                "add some, or remove the folder of that class"
            )
        names += [os.fsencode(f"{root.name}/{name}/{file}") for file in found]
        counts.append(len(found))
    return np.array(names), torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(counts))


def own_shapes(root: Path, names: np.ndarray) -> set[tuple[int, int, int]]:
    """(C, H, W) of some of the images, as they are in their files."""
    chosen = np.unique(np.linspace(0, len(names) - 1, LOOKED_AT).astype(int))
    return {_own_shape(root / os.fsdecode(bytes(names[index]))) for index in chosen}


def _shape(data: Data, root: Path, names: np.ndarray) -> tuple[int, ...]:
    """The shape that all images take: what the recipe says, and where it says nothing, what they all have."""
    found = own_shapes(root, names)
    first = min(found)
    if data.image_size is None and (len({shape[1:] for shape in found}) > 1 or first[1] != first[2]):
        sizes = ", ".join(sorted({f"{width}x{height}" for _, height, width in found})[:4])
        raise DataError(f"{root}: images of {sizes} pixels: set data.image_size, the side all images are resized to")
    if data.grayscale is None and len({shape[0] for shape in found}) > 1:
        raise DataError(f"{root}: some images are grey and some coloured: set data.grayscale to true or false")
    return image_shape(data, first)


def _own_shape(path: Path) -> tuple[int, int, int]:
    try:
        with Image.open(path) as image:
            return (1 if image.mode in ("L", "1", "I;16", "I", "F") else 3, image.height, image.width)
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); replace or remove it") from error


def _read(root: Path, pre: Preprocess, name: bytes) -> Tensor:
    return torch.from_numpy(pre.decode(root / os.fsdecode(bytes(name))))


def maker(data: Data, count: int, shape: tuple[int, ...]) -> Callable[..., Samples]:
    """What makes samples of (data, root, shape, names, labels, part): in memory or streamed, as ``count`` asks for."""
    fits = count * int(np.prod(shape)) <= IN_MEMORY_BYTES
    return _load if (fits if data.in_memory is None else data.in_memory) else _streamed


def _unscaled(shape: tuple[int, ...]) -> Preprocess:
    return Preprocess(kind="image", shape=shape, mean=(0.0,) * shape[0], std=(1.0,) * shape[0])


def _load(data: Data, root: Path, shape: tuple[int, ...], names: np.ndarray, labels: Tensor, part: str) -> Samples:
    raw = torch.empty((len(names), *shape), dtype=torch.uint8)
    with ThreadPoolExecutor(max(1, data.workers)) as pool:
        images = pool.map(partial(_read, root, _unscaled(shape)), names)
        for index, image in enumerate(track(images, f"reading {part} images", len(names))):
            raw[index] = image
    return InMemory(raw, labels)


def _streamed(data: Data, root: Path, shape: tuple[int, ...], names: np.ndarray, labels: Tensor, part: str) -> Samples:
    # The test set decides what may be compared, so its bytes count; reading all bytes of a training set
    # of a million images would take as long as an epoch, so there a file's size and date stand for it.
    signature = partial(_contents if part == "test" else _dates, root)
    return Streamed(partial(_read, root, _unscaled(shape)), names, labels, signature, data.workers)


def _contents(root: Path, names: np.ndarray) -> str:
    digest = hashlib.sha256()
    for name in track(names, "fingerprint of the test images", len(names)):
        digest.update(name + b"\0" + (root / os.fsdecode(bytes(name))).read_bytes())
    return digest.hexdigest()


def _dates(root: Path, names: np.ndarray) -> str:
    digest = hashlib.sha256()
    for name in track(names, "fingerprint of the training images", len(names)):
        status = (root / os.fsdecode(bytes(name))).stat()
        digest.update(f"{name!r} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
