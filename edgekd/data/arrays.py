"""Samples from arrays, as a .npz file has them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from edgekd.arrayfiles import as_array, must_be_finite, names_in_npz, read_npz
from edgekd.data.layouts import SEVERAL, archive, arrays_of, parts_among
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
    parts: Mapping[str, tuple[Any, Any]],
    names: tuple[str, ...] | None = None,
    kind: type[Task] = Classification,
) -> RawData:
    """Check (samples, targets) arrays and make samples of them; images take ``data``'s size and colours.

    Args:
        name: the source, for messages.
        parts: of training, test and, if given, validation samples, by ``train``, ``test`` and ``validation``.
        names: of the task's classes or labels; numbers if left out.

    Raises:
        DataError: an array does not fit, or a part is of another kind than training; the message names it.
    """
    arrays = {part: as_array(x, f"{name}: {part}_x", LAYOUT) for part, (x, _) in parts.items()}
    raw = {part: _samples(each, f"{name}: {part}_x") for part, each in arrays.items()}
    targets = {
        part: kind.read_targets(as_array(y, f"{name}: {part}_y", LAYOUT), len(raw[part]), f"{name}: {part}_y")
        for part, (_, y) in parts.items()
    }
    names = kind.numbered(targets["train"], name) if names is None else names
    for part, each in targets.items():
        kind(names).must_be_named(each, f"{name}: {part}_y")
    for part in arrays:
        _must_be_alike(name, data, tuple(raw["train"].shape), tuple(raw[part].shape), part)
        _must_be_on_one_scale(name, arrays["train"], arrays[part], part)
    vectors = raw["train"].ndim == 2
    for part, each in targets.items():
        if not vectors:
            kind(names).must_fit(each, (raw[part].shape[2], raw[part].shape[3]), f"{name}: {part}_y")
    shape = (raw["train"].shape[1],) if vectors else image_shape(data, tuple(raw["train"].shape[1:]))
    found = {}
    for part, each in targets.items():
        own = torch.from_numpy(each)
        pair = (raw[part], own) if vectors else _resized(name, raw[part], own, shape, data.resize, kind(names))
        found[part] = InMemory(*pair, np.arange(len(own)), None if vectors else partial(_own_size, raw[part], shape))
    sort: Literal["vector", "image"] = "vector" if vectors else "image"
    return RawData(found["train"], found["test"], names, sort, shape, validation=found.get("validation"))


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


def _must_be_on_one_scale(name: str, train: np.ndarray, other: np.ndarray, part: str) -> None:
    if WHOLE[train.dtype.kind] != WHOLE[other.dtype.kind]:
        raise DataError(
            f"{name}: train_x is {train.dtype}, {part}_x {other.dtype}: whole numbers and floating ones are rarely on "
            "one scale; give both as the same type"
        )


def _must_be_alike(name: str, data: SourceKeys, ours: tuple[int, ...], theirs: tuple[int, ...], part: str) -> None:
    images = len(ours) == len(theirs) == 4
    sized, coloured = images and data.image_size is not None, images and data.grayscale is not None
    if len(ours) != len(theirs) or (ours[1] != theirs[1] and not coloured) or (ours[2:] != theirs[2:] and not sized):
        way = "; data.image_size and data.grayscale say what images become" if images else ""
        raise DataError(f"{name}: training samples are {ours}, {part} samples {theirs}; they must be alike{way}")


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

    ``val_x`` and ``val_y`` may be there too. Several inputs are ``train_x.NAME`` and ``test_x.NAME`` each.
    """
    assert data.path is not None
    archive(data.path)
    there = names_in_npz(data.path)
    inputs = [name.removeprefix(SEVERAL) for name in there if name.startswith(SEVERAL)]
    parts = parts_among({name.partition("_x")[0] for name in there if "_x" in name}, data, data.path)
    if inputs:
        return _load_named(data, data.path, inputs, parts, kind)
    content = read_npz(data.path, arrays_of([], parts.values()), ["classes"])
    classes = class_names(content["classes"]) if "classes" in content else None
    pairs = {part: (content[f"{own}_x"], content[f"{own}_y"]) for part, own in parts.items()}
    return from_arrays(str(data.path), data, pairs, classes, kind)


def _load_named(data: SourceKeys, path: Path, inputs: list[str], parts: Mapping[str, str], kind: type[Task]) -> RawData:
    content = read_npz(path, arrays_of(inputs, parts.values()), ["classes"])
    classes = class_names(content["classes"]) if "classes" in content else None
    pairs = {
        part: ({name: content[f"{own}_x.{name}"] for name in inputs}, content[f"{own}_y"])
        for part, own in parts.items()
    }
    return from_named_arrays(str(path), pairs, classes, kind)
