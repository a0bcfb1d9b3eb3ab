"""Annotated images in formats of detection: COCO's JSON, YOLO's text files, Pascal VOC's XML."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from edgekd.data.arrays import image_shape, unscaled
from edgekd.data.folder import loader
from edgekd.data.layouts import parts_among
from edgekd.data.raw import RawData, SourceKeys
from edgekd.errors import DataError
from edgekd.images import open_image, prepare, reading, shape_of
from edgekd.tasks.detection.annotations import Annotations, must_be_of_size
from edgekd.tasks.detection.targets import padded
from edgekd.tasks.task import Task

SIZES = 4


class Format(Protocol):
    """A module of :mod:`edgekd.tasks.detection.annotations`."""

    def read(self, root: Path, part: str, /) -> Annotations:
        """Read the images of ``part`` below ``root``."""
        ...

    def has_validation(self, root: Path, /) -> bool:
        """Return whether there are validation images next to those of training and test."""
        ...


def load_annotated(data: SourceKeys, kind: type[Task], way: Format) -> RawData:
    """Load the images that ``way`` finds below ``data.path``, with their boxes moved as images are resized.

    Raises:
        DataError: there is a mistake in an annotation, or the task does not take boxes.
    """
    assert data.path is not None
    given = ["validation"] if way.has_validation(data.path) else []
    found = {part: way.read(data.path, part) for part in parts_among(given, data, data.path)}
    train = found["train"]
    for name, part in found.items():
        if part.names != train.names:
            raise DataError(
                f"{data.path}: training images have the classes {', '.join(train.names)}, {name} images "
                f"{', '.join(part.names)}: list the same ones in the same order"
            )
    sizes = {name: _sizes(part, data.workers) for name, part in found.items()}
    shape = _shape(data, [each for part in sizes.values() for each in part])
    make = loader(data, sum(len(part.files) for part in found.values()), shape)
    parts = {}
    for name, part in found.items():
        stored = kind.read_targets(padded(part.objects), len(part.files), f"{data.path}: {name}")
        if name != "train":
            kind.must_be_measurable(stored, name, data.path)
        moved = _moved(stored, sizes[name], shape, data, kind(train.names))
        files = np.array([os.fsencode(os.path.relpath(path, data.path)) for path in part.files])
        parts[name] = make(data, data.path, shape, files, torch.from_numpy(moved), name)
    decoder = {} if train.categories is None else {"categories": train.categories}
    return RawData(
        parts["train"], parts["test"], train.names, "image", shape, decoder, validation=parts.get("validation")
    )


def _sizes(part: Annotations, workers: int) -> list[tuple[int, int, int]]:
    """The (channels, height, width) of each image's file, which must be what its annotations say."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(pool.map(_own_shape, part.files))
    for index, (path, said, own) in enumerate(zip(part.files, part.sizes, found, strict=True)):
        must_be_of_size(said, own[1:], path, partial(part.where, index))
    return found


def _own_shape(path: Path) -> tuple[int, int, int]:
    with reading(path):
        return shape_of(prepare(open_image(path)))


def _shape(data: SourceKeys, found: Sequence[tuple[int, int, int]]) -> tuple[int, ...]:
    sizes = sorted({own[1:] for own in found})
    if data.image_size is None and len(sizes) > 1:
        shown = ", ".join(f"{width}x{height}" for height, width in sizes[:SIZES])
        raise DataError(
            f"{data.path}: images of {shown} pixels: set data.image_size, the side all images are resized to"
        )
    if data.grayscale is None and len({own[0] for own in found}) > 1:
        raise DataError(f"{data.path}: some images are grey and some coloured: set data.grayscale to true or false")
    return image_shape(data, found[0])


def _moved(
    stored: NDArray[Any], sizes: Sequence[tuple[int, int, int]], shape: tuple[int, ...], data: SourceKeys,
    task: Task,
) -> NDArray[Any]:  # fmt: skip
    preprocess, found = unscaled(shape, data.resize), stored.copy()
    own = [each[1:] for each in sizes]
    for size in set(own):
        which = np.array([each == size for each in own])
        found[which] = task.move_targets(stored[which], preprocess.geometry(int(which.sum()), size))
    return found
