"""Decoding of image files, the same for training and for bundles.

Pillow alone decodes, and no program runs.
"""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from edgekd.errors import DataError, first_line
from edgekd.files import require_file

if TYPE_CHECKING:
    from PIL import Image

# Pillow reads far more, PostScript by starting Ghostscript among them.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
MOST_PIXELS = 1 << 26
GREY = ("1", "L", "LA", "La", "I", "F")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
EXIF_ORIENTATION = 0x0112
# EXIF 2.32, 4.6.4 A: the orientation of the stored rows and columns, and the transposition that sets them upright.
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
ADVICE = "replace the file or remove it from the data"


@cache
def load_pillow() -> ModuleType:
    """Import Pillow, which a device that takes arrays need not have.

    Raises:
        DataError: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("image files are read by Pillow, which is not installed: pip install pillow") from error
    # It mends what it warns of, or the file is refused here by its name.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    return Image


@contextmanager
def reading(source: Path | bytes | Image.Image) -> Iterator[None]:
    """Turn whatever decoding raises into a :class:`DataError` that names ``source``."""
    pillow = load_pillow()
    name = str(source) if isinstance(source, Path) else "image"
    try:
        yield
    except DataError as error:
        said = str(error)
        raise DataError(said if name in said else f"{name}: {said}") from error
    except pillow.DecompressionBombError as error:
        pixels = re.search(r"\d+ pixels", str(error))
        raise DataError(f"{name}: {_too_large(pixels.group() if pixels else 'it is huge')}") from error
    except pillow.UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise DataError(f"{name}: not a readable image (its content is none of {known}); {ADVICE}") from error
    except Exception as error:  # on damage, decoders raise OSError, SyntaxError, struct.error and more
        raise DataError(f"{name}: not a readable image ({first_line(error)}); {ADVICE}") from error


def open_image(source: Path | bytes) -> Image.Image:
    """Decode the first frame, as it is in the file.

    Raises:
        DataError: the file is missing, or the image is too large.
    """
    if isinstance(source, Path):
        require_file(source, DataError)
    file = source if isinstance(source, Path) else io.BytesIO(source)
    with load_pillow().open(file, formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise DataError(_too_large(f"{image.width}x{image.height} pixels"))
        image.load()
        return image


def prepare(image: Image.Image, upright: bool = True, over_white: bool = True) -> Image.Image:
    """Return ``image`` in 8 bits, ``upright`` by its EXIF orientation, with transparent pixels ``over_white``.

    Raises:
        DataError: its pixels have no known range.
    """
    pillow = load_pillow()
    turn = UPRIGHT.get(_orientation(image)) if upright else None
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # Pillow's own conversion clips 16 bits to 255 instead of scaling.
        image = pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError("32-bit pixels have no known range; save the image with 8 or 16 bits")
    if over_white and (image.mode in TRANSPARENT or "transparency" in image.info):
        grey = image.mode in GREY
        image = image if image.mode not in ("La", "RGBa") else image.convert(image.mode.upper())
        image = image.convert("RGBA")
        image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image).convert("L" if grey else "RGB")
    if turn:
        image = image.transpose(pillow.Transpose[turn])
        image.info = {}  # where Pillow would find the orientation again
    return image


def shape_of(image: Image.Image) -> tuple[int, int, int]:
    """Return (C, H, W) of a prepared image, with C 1 (grey) or 3."""
    return (1 if image.mode in GREY else 3, image.height, image.width)


def planes(image: Image.Image) -> np.ndarray:
    """Return a grey or RGB image as uint8 (C, H, W)."""
    pixels = np.asarray(image, np.uint8)
    # A copy: Pillow's own pixels are read-only, of which PyTorch warns.
    return np.array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), order="C")


def to_netpbm(pixels: np.ndarray, most: int) -> tuple[str, bytes]:
    """Return uint8 (C, H, W) as the suffix and the content of a binary PGM or, in colour, PPM file.

    No decoder is needed to read it. An image of more than ``most`` pixels is scaled down by a whole number.
    """
    image = load_pillow().fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    factor = math.ceil(math.sqrt(image.width * image.height / most))
    file = io.BytesIO()
    (image if factor <= 1 else image.reduce(factor)).save(file, "PPM")
    return ".pgm" if len(pixels) == 1 else ".ppm", file.getvalue()


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # damaged EXIF data say nothing of the pixels, which were decoded
        return 1


def _too_large(what: str) -> str:
    return f"is too large ({what}; at most {MOST_PIXELS:,} are read); scale it down, or leave it out"
