"""Samples from arrays, as a .npz file has them."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from edgekd.arrayfiles import as_array, must_be_finite, names_in_npz, read_npz
from edgekd.data.layouts import ARRAYS, PARTS, SEVERAL, archive, arrays_of
from edgekd.data.named import from_named_arrays
from edgekd.data.raw import RawData, SourceKeys
from edgekd.data.samples import InMemory
from edgekd.errors import DataError, first_line
from edgekd.images import planes
from edgekd.preprocess import Preprocess, Resize
from edgekd.tasks.classification import Classification
from edgekd.tasks.task import Task

LAYOUT = "images as uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), or vectors as numbers (N, F)"
WHOLE = {"b": "whole", "i": "whole", "u": "whole", "f": "floating"}


def from_arrays(
    name: str,
    data: SourceKeys,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    names: tuple[str, ...] | None = None,
    kind: type[Task] = Classification,
) -> RawData:
    """Check (samples, targets) arrays and make samples of them; images take ``data``'s size and colours.

    ``names`` are those of the task's classes or labels.
    """
    train_x, test_x = (
        as_array(part[0], f"{name}: {where}", LAYOUT) for part, where in ((train, "train_x"), (test, "test_x"))
    )
    train_raw, test_raw = _samples(train_x, f"{name}: train_x"), _samples(test_x, f"{name}: test_x")
    targets = [
        kind.read_targets(as_array(raw, where, LAYOUT), len(samples), where)
        for raw, samples, where in (
            (train[1], train_raw, f"{name}: train_y"),
            (test[1], test_raw, f"{name}: test_y"),
        )
    ]
    names = kind.numbered(targets[0], name) if names is None else names
    for part, each in zip(PARTS, targets, strict=True):
        kind(names).must_be_named(each, f"{name}: {part}_y")
    _must_be_alike(name, data, tuple(train_raw.shape), tuple(test_raw.shape))
    if WHOLE[train_x.dtype.kind] != WHOLE[test_x.dtype.kind]:
        raise DataError(
            f"{name}: train_x is {train_x.dtype}, test_x {test_x.dtype}: whole numbers and floating ones are rarely on "
            "one scale; give both as the same type"
        )
    vectors = train_raw.ndim == 2
    for part, each, images in (("train", targets[0], train_raw), ("test", targets[1], test_raw)):
        if not vectors:
            kind(names).must_fit(each, (images.shape[2], images.shape[3]), f"{name}: {part}_y")
    shape = (train_raw.shape[1],) if vectors else image_shape(data, tuple(train_raw.shape[1:]))
    parts = [
        InMemory(
            *((raw, each) if vectors else _resized(name, raw, each, shape, data.resize, kind(names))),
            np.arange(len(each)),
            None if vectors else partial(_own_size, raw, shape),
        )
        for raw, each in zip((train_raw, test_raw), map(torch.from_numpy, targets), strict=True)
    ]
    return RawData(parts[0], parts[1], names, "vector" if vectors else "image", shape)


def _resized(
    name: str, images: Tensor, targets: Tensor, shape: tuple[int, ...], resize: Resize, task: Task
) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) of ``shape``, and their targets moved along."""
    height, width = images.shape[2:]
    if (height, width) == shape[1:]:
        return conform(images, shape, resize), targets
    before = targets.numpy()
    try:
        moved = task.move_targets(before, unscaled(shape, resize).geometry(len(images), (height, width)))
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return conform(images, shape, resize), targets if moved is before else torch.from_numpy(moved)


def _must_be_alike(name: str, data: SourceKeys, ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    images = len(ours) == len(theirs) == 4
    sized, coloured = images and data.image_size is not None, images and data.grayscale is not None
    if len(ours) != len(theirs) or (ours[1] != theirs[1] and not coloured) or (ours[2:] != theirs[2:] and not sized):
        way = "; data.image_size and data.grayscale say what images become" if images else ""
        raise DataError(f"{name}: training samples are {ours}, test samples {theirs}; they must be alike{way}")


def image_shape(data: SourceKeys, own: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (C, H, W) after the recipe's ``image_size`` and ``grayscale``; what is not given stays as it is."""
    channels = own[0] if data.grayscale is None else 1 if data.grayscale else 3
    return (channels, data.image_size or own[1], data.image_size or own[2])


def unscaled(shape: tuple[int, ...], resize: Resize = "stretch") -> Preprocess:
    """Make a preprocessing that decodes and resizes to ``shape``, and leaves the pixels' scale alone."""
    return Preprocess(kind="image", shape=shape, mean=(0.0,) * shape[0], std=(1.0,) * shape[0], resize=resize)


def conform(images: Tensor, shape: tuple[int, ...], resize: Resize = "stretch") -> Tensor:
    """Resize uint8 (N, C, H, W) and convert its colours, by the same code that a bundle uses."""
    if tuple(images.shape[1:]) == shape:
        return images
    pre = unscaled(shape, resize)
    return torch.from_numpy(np.stack([pre.decode(_picture(image)) for image in images]))


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).contiguous().numpy())


def _own_size(images: Tensor, shape: tuple[int, ...], row: int) -> np.ndarray:
    return planes(unscaled(shape).in_colour(_picture(images[row])))


def _samples(array: np.ndarray, name: str) -> Tensor:
    if not array.size or array.dtype.kind == "c" or array.ndim not in (2, 3, 4):
        raise DataError(f"{name} gives {array.dtype} samples of shape {array.shape}; expected {LAYOUT}")
    if array.ndim == 2:
        must_be_finite(array, name)
        return torch.from_numpy(array.astype(np.float32))
    if array.dtype != np.uint8:
        raise DataError(f"{name} gives {array.dtype} samples of shape {array.shape}; expected {LAYOUT}")
    array = array[:, None] if array.ndim == 3 else array if array.shape[1] in (1, 3) else array.transpose(0, 3, 1, 2)
    if array.shape[1] not in (1, 3):
        raise DataError(f"{name}: an image has 1 (grey) or 3 (RGB) channels, not {array.shape[1]}; expected {LAYOUT}")
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def class_names(raw: Any) -> tuple[str, ...]:
    """Read the names of the classes from an array or a list; bytes are UTF-8."""
    try:
        names = np.asarray(raw)
    except ValueError as error:
        raise DataError(f"classes are no list of names ({first_line(error)}); expected one for each class") from error
    if names.ndim != 1 or names.dtype.kind not in "USiuO":
        raise DataError(f"classes are {names.dtype} of shape {names.shape}; expected one name for each class")
    return tuple(_text(name) for name in names.tolist())


def _text(name: Any) -> str:
    try:
        return name.decode() if isinstance(name, bytes) else str(name)
    except UnicodeDecodeError as error:
        raise DataError(f"the class name {name!r} is no text in UTF-8; save the names as text") from error


def load_npz(data: SourceKeys, kind: type[Task] = Classification) -> RawData:
    """Load a NumPy archive with ``train_x``, ``train_y``, ``test_x``, ``test_y`` and, if given, ``classes``.

    Several inputs are ``train_x.NAME`` and ``test_x.NAME`` each.
    """
    assert data.path is not None
    archive(data.path)
    inputs = [name.removeprefix(SEVERAL) for name in names_in_npz(data.path) if name.startswith(SEVERAL)]
    if inputs:
        return _load_named(data, data.path, inputs, kind)
    content = read_npz(data.path, ARRAYS, ["classes"])
    classes = class_names(content["classes"]) if "classes" in content else None
    train, test = ((content[f"{part}_x"], content[f"{part}_y"]) for part in ("train", "test"))
    return from_arrays(str(data.path), data, train, test, classes, kind)


def _load_named(data: SourceKeys, path: Path, inputs: list[str], kind: type[Task]) -> RawData:
    content = read_npz(path, arrays_of(inputs), ["classes"])
    classes = class_names(content["classes"]) if "classes" in content else None
    train, test = (({name: content[f"{part}_x.{name}"] for name in inputs}, content[f"{part}_y"]) for part in PARTS)
    return from_named_arrays(str(path), train, test, classes, kind)
