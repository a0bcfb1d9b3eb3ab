"""Preprocessing, the same in training, evaluation and bundles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from edgekd.arrayfiles import must_be_finite, read_rows
from edgekd.errors import DataError
from edgekd.geometry import Geometry
from edgekd.images import MOST_PIXELS, load_pillow, open_image, planes, prepare, reading
from edgekd.pixels import why_no_scale

if TYPE_CHECKING:
    from PIL import Image

Kind = Literal["image", "vector", "tensors"]
Resize = Literal["stretch", "letterbox"]
# The grey around an image that is letterboxed, as in YOLO's training.
PADDING = 114
MODES = {1: "L", 3: "RGB"}
# The words for decoding in the JSON, and their meaning; bundles from before these keys did neither.
ORIENTATION, TRANSPARENCY = {"exif": True, "ignored": False}, {"white": True, "dropped": False}


@dataclass(frozen=True)
class Preprocess:
    """Decode, resize, scale and normalise.

    Images are set ``upright`` as their EXIF data say, and transparent pixels are laid ``over_white``. They are 8-bit,
    ``shape`` is (C, H, W) with C 1 (grey) or 3 (RGB), and ``mean`` and ``std`` hold one value per channel in units of
    the range 0..1. Images of other sizes are stretched, or letterboxed: scaled with their aspect kept and centred on
    grey. Vectors are floats, ``shape`` is (F,), and ``mean`` and ``std`` hold one value per feature in the
    feature's own units. Of the kind ``tensors`` are several inputs by name, which are taken as they are: ``shape``,
    ``mean`` and ``std`` are empty.

    >>> grey = Preprocess("image", (1, 8, 8), (0.5,), (0.5,))
    >>> grey.apply(np.full((2, 1, 8, 8), 255, np.uint8)).max()
    np.float32(1.0)
    """

    kind: Kind
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    upright: bool = True
    over_white: bool = True
    resize: Resize = "stretch"

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize):
            expected = " or ".join(map(repr, get_args(Resize)))
            raise DataError(f"preprocess: resize is {self.resize!r}, expected {expected}")
        if self.kind not in get_args(Kind):
            raise DataError(f"preprocess: kind is {self.kind!r}, expected {' or '.join(map(repr, get_args(Kind)))}")
        if self.kind == "tensors":
            if self.shape or self.mean or self.std:
                raise DataError("preprocess: several inputs are taken as they are, without shape, mean and std")
            return
        if len(self.shape) != (3 if self.kind == "image" else 1) or min(self.shape) < 1:
            expected = "(channels, height, width)" if self.kind == "image" else "(features,)"
            raise DataError(f"preprocess: shape is {self.shape}, expected {expected} of at least 1 each")
        if self.kind == "image" and self.shape[0] not in MODES:
            raise DataError(f"preprocess: an image has 1 (grey) or 3 (RGB) channels, not {self.shape[0]}")
        if not len(self.mean) == len(self.std) == self.shape[0]:
            raise DataError(
                f"preprocess: {len(self.mean)} means and {len(self.std)} stds for {self.shape[0]} "
                f"{'channels' if self.kind == 'image' else 'features'}; give one of each per channel or feature"
            )
        if not all(map(math.isfinite, self.mean)) or not all(0 < std < math.inf for std in self.std):
            raise DataError("preprocess: means must be finite, and stds finite and above 0")
        if self.kind == "image" and (why := why_no_scale(self.mean, self.std)):
            raise DataError(f"preprocess: mean and std: {why}")

    def scale_to_json(self) -> dict[str, Any]:
        """Return the settings of :meth:`apply` as JSON, and how images are resized if not as in earlier versions."""
        resize = {} if self.resize == "stretch" else {"resize": self.resize}
        scale = {"kind": self.kind, "shape": list(self.shape), "mean": list(self.mean), "std": list(self.std)}
        return {**scale, **resize}

    def to_json(self) -> dict[str, Any]:
        if self.kind != "image":
            return self.scale_to_json()
        return self.scale_to_json() | {
            "orientation": "exif" if self.upright else "ignored",
            "transparency": "white" if self.over_white else "dropped",
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Preprocess:
        """Read what :meth:`to_json` wrote.

        Raises:
            DataError: it is no preprocessing.
        """
        try:
            shape = tuple(int(size) for size in document["shape"])
            mean, std = (tuple(float(x) for x in document[key]) for key in ("mean", "std"))
            if document["kind"] != "image":
                return cls(document["kind"], shape, mean, std)
            upright = ORIENTATION[document.get("orientation", "ignored")]
            over_white = TRANSPARENCY[document.get("transparency", "dropped")]
            return cls(document["kind"], shape, mean, std, upright, over_white, document.get("resize", "stretch"))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"preprocess: not a preprocessing section ({error!r})") from error

    def decode(self, source: Path | bytes | Image.Image) -> np.ndarray:
        """Decode an image to uint8 (C, H, W), converted and resized (bilinear, antialiased) if it differs."""
        if self.kind != "image":
            raise DataError("preprocess: this network takes vectors of numbers, not images")
        with reading(source):
            image = open_image(source) if isinstance(source, (Path, bytes)) else source
            return self.fit(self.prepare(image))

    def prepare(self, image: Image.Image) -> Image.Image:
        """Return ``image`` upright, opaque and in 8 bits, of its own size and colours."""
        return prepare(image, self.upright, self.over_white)

    def fit(self, image: Image.Image) -> np.ndarray:
        """Return a prepared image as uint8 (C, H, W) in this colour and size."""
        channels, height, width = self.shape
        if height * width > MOST_PIXELS:
            raise DataError(f"{width}x{height} pixels are more than the {MOST_PIXELS:,} that an image may have")
        image = self.in_colour(image)
        if image.size != (width, height):
            left, top, *size = self.placed((image.height, image.width))
            resized = image.resize((size[0], size[1]), load_pillow().Resampling.BILINEAR)
            image = resized
            if image.size != (width, height):
                image = load_pillow().new(resized.mode, (width, height), (PADDING,) * channels)
                image.paste(resized, (left, top))
        return planes(image)

    def in_colour(self, image: Image.Image) -> Image.Image:
        """Return a prepared image in this colour, at its own size."""
        mode = MODES[self.shape[0]]
        return image if image.mode == mode else image.convert(mode)

    def placed(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return left, top, width and height, in pixels, of an image of ``size`` (height, width) after resizing."""
        _, height, width = self.shape
        if self.resize == "stretch":
            return 0, 0, width, height
        scale = min(height / size[0], width / size[1])
        inner = [max(1, round(scale * each)) for each in size]
        return (width - inner[1]) // 2, (height - inner[0]) // 2, inner[1], inner[0]

    def geometry(self, count: int, size: tuple[int, int]) -> Geometry:
        """Return where the pixels of ``count`` images of ``size`` (height, width) go."""
        return Geometry.resized(count, size, (self.shape[1], self.shape[2]), self.placed(size))

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Turn raw uint8 (N, C, H, W) or float (N, F) into the network's input, in float32.

        Raises:
            DataError: ``raw`` is of another shape or type, or the network takes several inputs.
        """
        if self.kind == "tensors":
            raise DataError("preprocess: several inputs are taken as they are: nothing is to be applied to them")
        if raw.ndim != len(self.shape) + 1 or raw.shape[1:] != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise DataError(f"preprocess: input is {raw.shape}, expected (N, {expected})")
        if self.kind == "image" and raw.dtype != np.uint8:
            raise DataError(f"preprocess: images are uint8 in 0..255 before scaling, got {raw.dtype}")
        if self.kind == "vector":
            if raw.dtype.kind not in "biuf":
                raise DataError(f"preprocess: vectors are numbers, got {raw.dtype}")
            must_be_finite(raw, "preprocess: input")
        each = (1, -1) + (1,) * (len(self.shape) - 1)
        mean, std = (np.asarray(x, np.float32).reshape(each) for x in (self.mean, self.std))
        values = raw.astype(np.float32)
        return ((values / np.float32(255) if self.kind == "image" else values) - mean) / std

    def read(self, path: Path) -> np.ndarray:
        """Read a file as a batch for :meth:`apply`: an image, or a .npy or .csv with one sample per row.

        Raises:
            DataError: it cannot be read, or the network takes several inputs.
        """
        return self.read_placed(path)[0]

    def read_placed(self, path: Path) -> tuple[np.ndarray, Geometry | None]:
        """Return what :meth:`read` does and, of an image, where the file's pixels went."""
        if self.kind == "tensors":
            raise DataError(f"{path}: several inputs are read by their names, which a preprocessing does not know")
        if self.kind == "image":
            with reading(path):
                image = self.prepare(open_image(path))
                return self.fit(image)[None], self.geometry(1, (image.height, image.width))
        rows = read_rows(path)
        if rows.shape[1:] != self.shape:
            raise DataError(f"{path}: {rows.shape[1]} values in a row, expected {self.shape[0]}")
        return rows, None
