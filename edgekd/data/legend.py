"""The legend of masks: ``classes.txt``, with a line for each class in the order of its index.

A line is the class's name and, where masks are coloured, its red, green and blue.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.files import read_content
from edgekd.tasks.segmentation.masks import IGNORED, MOST_CLASSES

CLASSES = "classes.txt"
COLOUR = re.compile(r"(.+?)\s+(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})")
OUTSIDE = "ignored"

Masks = NDArray[np.uint8]


@dataclass(frozen=True)
class Legend:
    """The classes of masks, and the index of each colour, as one number, where masks are coloured."""

    names: tuple[str, ...]
    colours: dict[int, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Legend":
        """Read ``classes.txt``.

        Raises:
            DataError: it is missing, or a line is no class; the message names the line.
        """
        names: list[str] = []
        colours: dict[int, int] = {}
        for number, text in enumerate(_text(path).splitlines(), 1):
            where, line = f"{path}:{number}", text.strip()
            if not line:
                raise DataError(
                    f"{where}: the line is empty; write a class's name, and its colour where masks have them"
                )
            coloured = COLOUR.fullmatch(line)
            name = coloured[1] if coloured else line
            if name != OUTSIDE:
                names.append(name)
            elif not coloured:
                raise DataError(
                    f"{where}: {OUTSIDE!r} has no colour; give its red, green and blue, or leave it out: of indices "
                    f"{IGNORED} does not count"
                )
            if not coloured:
                continue
            colour = _one_number([int(each) for each in coloured.groups()[1:]], where)
            if colour in colours:
                raise DataError(f"{where}: {line!r} has the colour of another line; give each class its own")
            colours[colour] = IGNORED if name == OUTSIDE else len(names) - 1
        if not 0 < len(names) <= MOST_CLASSES:
            raise DataError(f"{path} names {len(names)} classes; name 1 to {MOST_CLASSES}, one on each line")
        return cls(tuple(names), colours)

    def of_colours(self, pixels: NDArray[np.uint8]) -> Masks:
        """Return the index of each pixel's class, from colours (H, W, 3).

        Raises:
            DataError: a pixel is of no class; the message says where.
        """
        indices = self._looked_up(pixels)
        if (indices < 0).any():
            y, x = np.argwhere(indices < 0)[0].tolist()
            raise DataError(
                f"the colour {tuple(pixels[y, x].tolist())} at x {x}, y {y} is in no line of {CLASSES}: add its class, "
                f"or a line '{OUTSIDE} R G B'"
            )
        return indices.astype(np.uint8)

    def knows(self, pixels: NDArray[np.uint8]) -> bool:
        """Return whether all colours (H, W, 3) are of a class, or ignored."""
        return bool((self._looked_up(pixels) >= 0).all())

    def _looked_up(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        numbers = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        found, places = np.unique(numbers, return_inverse=True)
        table = np.array([self.colours.get(each, -1) for each in found.tolist()], np.int64)
        indices: NDArray[np.int64] = table[places].reshape(numbers.shape)
        return indices

    def of_indices(self, indices: NDArray[Any]) -> Masks:
        """Return indices (H, W) of whole numbers as uint8.

        Raises:
            DataError: a pixel is of no class; the message says where.
        """
        indices = indices.astype(np.int64)
        wrong = np.argwhere((indices < 0) | (indices >= len(self.names)) & (indices != IGNORED))
        if len(wrong):
            y, x = wrong[0].tolist()
            raise DataError(
                f"the class {indices[y, x]} at x {x}, y {y}, and {CLASSES} names the classes 0 to "
                f"{len(self.names) - 1}: add its line, or write {IGNORED} where a pixel does not count"
            )
        return indices.astype(np.uint8)


def _text(path: Path) -> str:
    try:
        return read_content(path, DataError).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8; save it as such, one class on each line") from error


def _one_number(colour: list[int], where: str) -> int:
    if max(colour) > 255:
        raise DataError(f"{where}: a colour is red, green and blue of 0 to 255 each")
    red, green, blue = colour
    return red << 16 | green << 8 | blue
