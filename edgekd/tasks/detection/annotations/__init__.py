"""Annotated images as people keep them: COCO's JSON, YOLO's text files, Pascal VOC's XML.

Each format is a file with a function of (folder, "train" or "test"), which gives :class:`Annotations`. A mistake is
named with its file and line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError
from edgekd.files import read_content
from edgekd.images import open_image, reading
from edgekd.tasks.detection.targets import ROUNDING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

LARGEST = 1 << 26


@dataclass(frozen=True, eq=False)
class Annotations:
    """The images of one part of a data set.

    Attributes:
        names: of the classes.
        files: of the images.
        sizes: their (height, width) in pixels, as the annotations say or, where these do not, as the files are.
        objects: of each image (G, 5): class, x1, y1, x2, y2 in pixels of the file; classes are as data sets store
            them, see :mod:`edgekd.tasks.detection.targets`.
        where: gives the file and the line where the size of an image is, by its place in ``files``.
        categories: the classes' own ids, where the format has them.
    """

    names: tuple[str, ...]
    files: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]
    objects: tuple[NDArray[np.float32], ...]
    where: Callable[[int], str]
    categories: tuple[int | str, ...] | None = None


def checked(kind: int, corners: Sequence[float], size: tuple[int, int], where: str) -> list[float]:
    """Return the row of an object of the class ``kind``, clipped to its image of ``size`` (height, width).

    Raises:
        DataError: the box has no width or height, or lies outside of the image; the message begins with ``where``.
    """
    x1, y1, x2, y2 = map(float, corners)
    height, width = size
    shown = f"({x1:g}, {y1:g})–({x2:g}, {y2:g})"
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise DataError(f"{where}: the box {shown} is not finite: give numbers")
    if x2 <= x1 or y2 <= y1:
        side = "width" if x2 <= x1 else "height"
        raise DataError(f"{where}: the box {shown} has no {side}: give x1 < x2 and y1 < y2, or remove it")
    if min(x1, y1) < -ROUNDING or x2 > width + ROUNDING or y2 > height + ROUNDING:
        raise DataError(
            f"{where}: the box {shown} lies outside of its image of {width}x{height} pixels: clip it, or give the "
            "boxes of this image's size"
        )
    inside = [max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))]
    left, top, right, bottom = map(np.float32, inside)
    if left >= right or top >= bottom:
        raise DataError(f"{where}: nothing of the box {shown} is in its image of {width}x{height} pixels: remove it")
    return [float(kind), *inside]


def must_be_of_size(said: tuple[int, int], own: tuple[int, int], path: Path, where: Callable[[], str]) -> None:
    """Refuse an image of another size, (height, width), than its annotations say: its boxes would lie elsewhere.

    Args:
        own: the size as the image is read, upright.

    Raises:
        DataError: the sizes differ; the message begins with ``where()``.
    """
    if said == own:
        return
    with reading(path):
        image = open_image(path)
    is_turned = said == (image.height, image.width)
    raise DataError(
        f"{where()}: the image is said to have {said[1]}x{said[0]} pixels, and {path} has {own[1]}x{own[0]}"
        f"{' upright, as its EXIF data turn it' if is_turned else ''}: correct its size, and its boxes"
        f"{', or remove the orientation from the file' if is_turned else ''}"
    )


def rows(objects: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Return the objects of one image as an array (G, 5)."""
    return np.array(objects, np.float32).reshape(-1, 5)


def read_classes(path: Path) -> tuple[str, ...]:
    """Return the names of classes in a file that has one on each line.

    Raises:
        DataError: it cannot be read, or a line is empty, by which all classes below would have other numbers.
    """
    text = read_content(path, DataError, LARGEST).decode("utf-8-sig", "replace")
    names = [line.strip() for line in text.splitlines()]
    while names and not names[-1]:
        names.pop()
    if not names or "" in names:
        number = names.index("") + 1 if names else 1
        raise DataError(f"{path}, line {number}: the line is empty: write the name of a class on each")
    return tuple(names)


def first_there(candidates: Sequence[Path]) -> Path | None:
    """Return the first of ``candidates`` that is a file, or None."""
    return next((path for path in candidates if path.is_file()), None)


def line_of(text: str, place: int) -> int:
    """Return the line, from 1, of a ``place`` in ``text``."""
    return text.count("\n", 0, place) + 1


def number(value: Any) -> bool:
    """Return whether ``value`` is a number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
