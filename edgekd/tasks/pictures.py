"""Pictures of objects and predictions over photographs, for reports and for ``edgekd predict``. Pillow draws them."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING, Literal
from unicodedata import combining, normalize

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


# The longer side of a report's pictures in pixels.
SIDE = 320
QUALITY = 80
# Of classes by their numbers: Okabe and Ito (2008), which the colour-blind tell apart.
SHADES = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2")
# Around lines, so that they are seen on any ground.
EDGE = "#000000"


def photograph(image: NDArray[np.uint8]) -> Image.Image:
    """Return an image (C, H, W), grey or of colours, as Pillow has it, in colours."""
    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image[:3].transpose(1, 2, 0))
    return Image.fromarray(pixels).convert("RGB")


def fitted(size: Sequence[int]) -> tuple[int, int]:
    """Return the width and height of a report's picture of an image of ``size``, height and width."""
    height, width = size
    scale = SIDE / max(size)
    return max(1, round(scale * width)), max(1, round(scale * height))


def base64(picture: Image.Image, kind: Literal["PNG", "JPEG"] = "PNG") -> str:
    """Return the file of ``picture`` in base64, for a report."""
    file = io.BytesIO()
    picture.save(file, kind, optimize=True, **({"quality": QUALITY} if kind == "JPEG" else {}))
    return b64encode(file.getvalue()).decode()


def for_report(image: NDArray[np.uint8]) -> str:
    """Return the JPEG in base64 of an image (C, H, W), in a report's size."""
    return base64(photograph(image).resize(fitted(image.shape[1:]), Image.Resampling.BICUBIC), "JPEG")


def glass(size: Sequence[int]) -> tuple[Image.Image, Pen]:
    """Return a transparent picture to lie over :func:`for_report` of an image of ``size``, and a pen for it."""
    picture = Image.new("RGBA", fitted(size))
    return picture, Pen(picture, (picture.width / size[1], picture.height / size[0]))


class Pen:
    """Lines and words on a picture, as thick as its size asks for.

    Args:
        scale: of x and y, from the pixels in which places are given to those of the picture.
    """

    def __init__(self, picture: Image.Image, scale: tuple[float, float] = (1.0, 1.0)):
        self.scale, self.size = scale, picture.size
        self.line = max(2, round(max(picture.size) / 200))
        self.letters = max(11, round(max(picture.size) / 24))
        self.font = ImageFont.load_default(self.letters)
        self.draw = ImageDraw.Draw(picture)

    def box(self, corners: Sequence[float], colour: str, text: str = "") -> None:
        """Draw a box of corners x1, y1, x2, y2, with ``text`` in its upper left corner."""
        (left, top), (right, bottom) = self._place(corners[:2]), self._place(corners[2:4])
        outer = (left - 1, top - 1, max(left, right) + 1, max(top, bottom) + 1)
        self.draw.rectangle(outer, outline=EDGE, width=self.line + 2)
        inner = (left, top, max(left, right), max(top, bottom))
        self.draw.rectangle(inner, outline=colour, width=self.line)
        self._write((left + self.line + 2, top + self.line), colour, text)

    def dot(self, place: Sequence[float], colour: str, text: str = "") -> None:
        """Draw a dot at x, y, with ``text`` next to it."""
        x, y = self._place(place)
        for radius, ink in ((self.line + 2, EDGE), (self.line + 1, colour)):
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
        self._write((x + 2 * self.line + 1, y - self.letters / 2), colour, text)

    def cross(self, place: Sequence[float], colour: str) -> None:
        """Draw a cross at x, y."""
        x, y = self._place(place)
        arm = 3 * self.line
        for width, ink in ((self.line + 2, EDGE), (self.line, colour)):
            self.draw.line((x - arm, y, x + arm, y), fill=ink, width=width)
            self.draw.line((x, y - arm, x, y + arm), fill=ink, width=width)

    def _place(self, place: Sequence[float]) -> tuple[float, float]:
        # What lies far outside is kept near: Pillow's time grows with the length of a line.
        x, y = (
            min(max(scale * each, -side), 2.0 * side)
            for scale, each, side in zip(self.scale, place, self.size, strict=True)
        )
        return x, y

    def _write(self, place: tuple[float, float], colour: str, text: str) -> None:
        # Pillow's own font has ASCII alone.
        plain = "".join(each for each in normalize("NFKD", text) if not combining(each))
        x, y = (max(1.0, each) for each in place)
        self.draw.text(
            (x, y), plain.encode("ascii", "replace").decode(), fill=colour, font=self.font, stroke_width=1,
            stroke_fill=EDGE,
        )  # fmt: skip
