"""Tree crowns on aerial photographs, from the package deepforest (MIT): pip install --no-deps deepforest.

Two photographs with 853 crowns are cut into tiles. Test tiles lie in the last quarter of each, and share no pixel with
training tiles.
"""

import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PHOTOGRAPHS = ("2019_YELL_2_528000_4978000_image_crop2", "2019_YELL_2_541000_4977000_image_crop")
TRAINED = 0.75
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def crowns(side: int = 128, most: int = 16) -> dict[str, Any]:
    """Return tiles with the boxes of their crowns, rows [0, x1, y1, x2, y2] filled up with -1, as a data source does.

    A crown belongs to the tiles that its middle lies in. Tiles without a crown are left out.
    """
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"train": [], "test": []}
    for pixels, boxes in map(_photograph, PHOTOGRAPHS):
        height, width = pixels.shape[:2]
        border = int(TRAINED * width)
        # Training tiles overlap by half.
        for part, first, last, step in (("train", 0, border, side // 2), ("test", border, width, side)):
            for left in range(first, last - side + 1, step):
                for top in range(0, height - side + 1, step):
                    tile = _tile(pixels, boxes, left, top, side, most)
                    if (tile[1][:, 0] >= 0).any():
                        parts[part].append(tile)
    stacked = {part: tuple(map(np.stack, zip(*tiles, strict=True))) for part, tiles in parts.items()}
    return {**stacked, "classes": ("crown",)}


def _photograph(name: str) -> tuple[np.ndarray, np.ndarray]:
    package = find_spec("deepforest")
    if package is None or not package.submodule_search_locations:
        raise ImportError("the photographs are deepforest's: pip install --no-deps deepforest")
    folder = Path(package.submodule_search_locations[0]) / "data"
    pixels = np.asarray(Image.open(folder / f"{name}.png").convert("RGB"))
    objects = ElementTree.parse(folder / f"{name}.xml").getroot().iter("bndbox")
    boxes = [[float(each.findtext(corner, "")) for corner in CORNERS] for each in objects]
    return pixels, np.array(boxes, np.float32)


def _tile(
    pixels: np.ndarray, boxes: np.ndarray, left: int, top: int, side: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    corner = np.array([left, top, left, top], np.float32)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 - corner[:2]
    inside = ((middles >= 0) & (middles < side)).all(1)
    found = (boxes[inside] - corner).clip(0, side)[:most]
    rows = np.full((most, 5), -1, np.float32)
    rows[: len(found), 0], rows[: len(found), 1:] = 0, found
    return pixels[top : top + side, left : left + side].transpose(2, 0, 1), rows
