"""How raw input becomes the network's input: the one place that training, evaluation and bundles share."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from edgekd.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Kind = Literal["image", "vector"]
MODES = {1: "L", 3: "RGB"}
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
ROW_ENDINGS = (".npy", ".csv")


@dataclass(frozen=True)
class Preprocess:
    """Decode, resize, scale and normalise.

    Images are 8-bit, ``shape`` is (C, H, W) with C 1 (grey) or 3 (RGB), and ``mean`` and ``std`` hold one
    value per channel in units of the range 0..1. Vectors are floats, ``shape`` is (F,), and ``mean`` and
    ``std`` hold one value per feature in the feature's own units.

    >>> grey = Preprocess("image", (1, 8, 8), (0.5,), (0.5,))
    >>> grey.apply(np.full((2, 1, 8, 8), 255, np.uint8)).max()
    np.float32(1.0)
    """

    kind: Kind
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise DataError(f"preprocess: kind is {self.kind!r}, expected 'image' or 'vector'")
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

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Preprocess:
        """The inverse of :meth:`to_json`; raises :class:`DataError` on anything else."""
        try:
            shape = tuple(int(size) for size in document["shape"])
            mean, std = (tuple(float(x) for x in document[key]) for key in ("mean", "std"))
            return cls(document["kind"], shape, mean, std)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"preprocess: not a preprocessing section ({error!r})") from error

    def decode(self, source: Path | bytes | Image.Image) -> np.ndarray:
        """One image as uint8 (C, H, W), converted and resized (bilinear, antialiased) where it differs."""
        if self.kind != "image":
            raise DataError("preprocess: this network takes vectors of numbers, not images")
        channels, height, width = self.shape
        pillow = load_pillow()
        try:
            image = open_image(source) if isinstance(source, (Path, bytes)) else source
            image = to_mode(image, MODES[channels])
            if image.size != (width, height):
                image = image.resize((width, height), pillow.Resampling.BILINEAR)
        except FileNotFoundError as error:
            raise DataError(f"{called(source)}: no such file; check the path") from error
        except DataError as error:
            raise DataError(f"{called(source)}: {error}") from error
        except Exception as error:  # on damage, decoders raise OSError, SyntaxError, struct.error and more
            raise DataError(
                f"{called(source)}: not a readable image ({error}); replace the file or remove it from the data"
            ) from error
        pixels = np.asarray(image, np.uint8)
        return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Raw uint8 (N, C, H, W) or float (N, F) to what the network is fed, in float32."""
        if raw.ndim != len(self.shape) + 1 or raw.shape[1:] != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise DataError(f"preprocess: input is {raw.shape}, expected (N, {expected})")
        if self.kind == "image" and raw.dtype != np.uint8:
            raise DataError(f"preprocess: images are uint8 in 0..255 before scaling, got {raw.dtype}")
        each = (1, -1) + (1,) * (len(self.shape) - 1)
        mean, std = (np.asarray(x, np.float32).reshape(each) for x in (self.mean, self.std))
        values = raw.astype(np.float32)
        return ((values / np.float32(255) if self.kind == "image" else values) - mean) / std

    def read(self, path: Path) -> np.ndarray:
        """A file as a batch for :meth:`apply`: an image, or a .npy or .csv with one sample per row."""
        if self.kind == "image":
            return self.decode(path)[None]
        rows = read_rows(path)
        if rows.shape[1:] != self.shape:
            raise DataError(f"{path}: {rows.shape[1]} values in a row, expected {self.shape[0]}")
        return rows


def load_pillow() -> ModuleType:
    """Imported where image files are read: a device that feeds arrays need not have it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("image files are read by Pillow, which is not installed: pip install pillow") from error
    return Image


def open_image(source: Path | bytes) -> Image.Image:
    with load_pillow().open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        image.load()
        return image


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow's own conversion clips 16 bits to 255 instead of scaling
        image = load_pillow().fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError("32-bit pixels have no known range; save the image with 8 or 16 bits")
    return image if image.mode == mode else image.convert(mode)


def called(source: Path | bytes | Image.Image) -> str:
    return str(source) if isinstance(source, Path) else "image"


def read_rows(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npy":
            rows = np.atleast_2d(np.load(path, allow_pickle=False)).astype(np.float64)
        elif path.suffix.lower() == ".csv":
            rows = read_csv(path)
        else:
            raise DataError(f"{path}: expected a .npy or .csv file with one sample per row")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not rows of numbers ({error})") from error
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise DataError(f"{path}: expected finite numbers, one sample per row")
    return rows


def read_csv(path: Path) -> np.ndarray:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [(number, line) for number, line in enumerate(csv.reader(file), 1) if line]
    if lines and not any(map(is_number, lines[0][1])):
        del lines[0]  # column names
    if not lines:
        raise DataError(f"{path}: holds no rows")
    for number, line in lines:
        wrong = [cell for cell in line if not is_number(cell)]
        if wrong or len(line) != len(lines[0][1]):
            what = f"{wrong[0]!r} is not a number" if wrong else f"{len(line)} values, not {len(lines[0][1])}"
            raise DataError(f"{path}: line {number}: {what}")
    return np.array([[float(cell) for cell in line] for _, line in lines])


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
