"""Samples that come as arrays: a .npz file, or a function of the user's."""

import zlib
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from edgekd import userfile
from edgekd.data.registry import SOURCES, Source
from edgekd.data.samples import InMemory
from edgekd.errors import DataError
from edgekd.preprocess import Preprocess
from edgekd.recipe import Data

LAYOUT = "images as uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), or vectors as numbers (N, F)"


def from_arrays(
    name: str,
    data: Data,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    classes: tuple[str, ...] | None = None,
) -> Source:
    """A source from (samples, labels) arrays; images take the size and colours that ``data`` asks for."""
    train_raw, test_raw = _samples(train[0], name), _samples(test[0], name)
    train_labels, test_labels = _labels(train[1], train_raw, name), _labels(test[1], test_raw, name)
    if classes is None:
        classes = tuple(str(label) for label in range(int(train_labels.max()) + 1))
    largest = int(torch.cat([train_labels, test_labels]).max())
    if largest >= len(classes):
        raise DataError(f"{name}: a label is {largest}, but there are {len(classes)} classes (0 first)")
    if train_raw.ndim != test_raw.ndim or (train_raw.ndim == 2 and train_raw.shape[1] != test_raw.shape[1]):
        train_shape, test_shape = tuple(train_raw.shape), tuple(test_raw.shape)
        raise DataError(f"{name}: training samples are {train_shape}, test samples {test_shape}; they must be alike")
    if train_raw.ndim == 2:
        shape: tuple[int, ...] = (train_raw.shape[1],)
        return Source(InMemory(train_raw, train_labels), InMemory(test_raw, test_labels), classes, "vector", shape)
    shape = image_shape(data, tuple(train_raw.shape[1:]))
    return Source(
        InMemory(conform(train_raw, shape), train_labels),
        InMemory(conform(test_raw, shape), test_labels),
        classes,
        "image",
        shape,
    )


def image_shape(data: Data, own: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) after the recipe's ``image_size`` and ``grayscale``, each left as it is where not given."""
    channels = own[0] if data.grayscale is None else 1 if data.grayscale else 3
    return (channels, data.image_size or own[1], data.image_size or own[2])


def conform(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Resizes uint8 (N, C, H, W) and converts its colours, by the same code that a bundle uses."""
    if tuple(images.shape[1:]) == shape:
        return images
    pre = Preprocess(kind="image", shape=shape, mean=(0.0,) * shape[0], std=(1.0,) * shape[0])
    pictures = images.permute(0, 2, 3, 1).numpy()
    pictures = pictures[..., 0] if pictures.shape[-1] == 1 else pictures
    return torch.from_numpy(np.stack([pre.decode(Image.fromarray(picture)) for picture in pictures]))


def _tensor(raw: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(np.asarray(raw))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} gives what is no array of numbers ({error}); expected {LAYOUT}") from error


def _samples(raw: Any, name: str) -> Tensor:
    array = _tensor(raw, name)
    if array.ndim == 2 and not array.is_complex():
        if not array.isfinite().all():
            raise DataError(f"{name} gives vectors with values that are not finite numbers; replace them, or drop them")
        return array.float()
    if array.dtype != torch.uint8 or array.ndim not in (3, 4):
        raise DataError(f"{name} gives {str(array.dtype)[6:]} samples of shape {tuple(array.shape)}; expected {LAYOUT}")
    if array.ndim == 3:
        return array[:, None]
    return array if array.shape[1] in (1, 3) else array.permute(0, 3, 1, 2).contiguous()


def _labels(raw: Any, samples: Tensor, name: str) -> Tensor:
    labels = _tensor(raw, name)
    if labels.ndim != 1 or len(labels) != len(samples) or labels.is_floating_point() or len(labels) == 0:
        raise DataError(
            f"{name} gives {len(samples)} samples and labels of shape {tuple(labels.shape)} ({str(labels.dtype)[6:]}); "
            "expected one whole number per sample"
        )
    if int(labels.min()) < 0:
        raise DataError(f"{name}: labels start at 0, the smallest is {int(labels.min())}")
    return labels.long()


@SOURCES.register("npz")
def npz(data: Data) -> Source:
    """A NumPy archive with ``train_x``, ``train_y``, ``test_x``, ``test_y`` and, where wanted, ``classes``."""
    assert data.path is not None
    if not data.path.is_file():
        raise DataError(f"there is no file {data.path}; data.path names a .npz with train_x, train_y, test_x, test_y")
    try:
        with np.load(data.path, allow_pickle=False) as archive:
            content = {key: archive[key] for key in archive.files}
        pairs = [(content[f"{part}_x"], content[f"{part}_y"]) for part in ("train", "test")]
    except KeyError as error:
        raise DataError(f"{data.path} has no array {error}; expected train_x, train_y, test_x, test_y") from error
    except (OSError, EOFError, ValueError, TypeError, AttributeError, BadZipFile, zlib.error) as error:
        raise DataError(f"{data.path} cannot be read as a .npz of plain arrays: {error}") from error
    classes = tuple(str(name) for name in content["classes"]) if "classes" in content else None
    return from_arrays(str(data.path), data, pairs[0], pairs[1], classes)


def from_function(data: Data) -> Source:
    """``path.py:function`` returning ``{"train": (x, y), "test": (x, y), "classes": [...]}``."""
    function = userfile.load_function(data.source, DataError)
    content = userfile.call(function, data.source, DataError, {}, data.args)
    try:
        train, test = content["train"], content["test"]
        named = content.get("classes")
        classes = tuple(map(str, named)) if named is not None else None
        pairs = (train[0], train[1]), (test[0], test[1])
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(
            f"{data.source} must return {{'train': (x, y), 'test': (x, y), 'classes': [...]}} with {LAYOUT}; "
            f"it gave a {type(content).__name__}"
        ) from error
    return from_arrays(data.source, data, *pairs, classes)
