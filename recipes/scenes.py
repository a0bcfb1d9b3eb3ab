"""Scenes: real handwritten digits (scikit-learn's) written on real photographs (scikit-image's and scikit-learn's).

A small task with nothing to download that is learned as detection, segmentation or labels are. Training and test share
no digit and no photograph. ``pip install scikit-image`` brings the photographs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = tuple(f"digit {number}" for number in range(10))
TRAIN_DIGITS = 1400
PHOTOGRAPHS = (
    *("astronaut", "chelsea", "coffee", "brick", "grass", "gravel", "rocket", "retina", "hubble_deep_field", "ihc"),
    *("camera", "motorcycle_left", "motorcycle_right", "coins"),
)
TEST_PHOTOGRAPHS = ("coffee", "grass", "flower", "retina")
# Of a digit, in pixels, as shares of the scene's side.
SMALLEST, LARGEST = 0.35, 0.6
# The least stroke, of 1, that is seen.
VISIBLE = 0.35
# Photographs are darkened by this, and ink is light, of 255: digits can be read.
DUSK, LIGHTEST = 0.8, 255


@dataclass(frozen=True)
class Scene:
    """``pixels`` (3, side, side) uint8, with ``digits`` (n,) at ``boxes`` (n, 4), as x0, y0, x1, y1.

    ``ink`` (side, side) says which pixels are of a digit's strokes.
    """

    pixels: np.ndarray
    digits: np.ndarray
    boxes: np.ndarray
    ink: np.ndarray


def labels(train: int = 4000, test: int = 1000, side: int = 64, most: int = 3) -> dict[str, Any]:
    """Return scenes with which digits they show, any number of the ten, as a recipe's data source does."""
    parts = {"train": (train, False), "test": (test, True)}
    return {**{name: _labelled(*part, side, most) for name, part in parts.items()}, "classes": NAMES}


def boxes(train: int = 3000, test: int = 600, side: int = 64, most: int = 3) -> dict[str, Any]:
    """Return scenes with the boxes of their digits, rows [digit, x1, y1, x2, y2] filled up with -1, likewise."""
    parts = {"train": (train, False), "test": (test, True)}
    return {**{name: _boxed(*part, side, most) for name, part in parts.items()}, "classes": NAMES}


def _boxed(count: int, is_test: bool, side: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    pixels, rows = np.empty((count, 3, side, side), np.uint8), np.full((count, most, 5), -1, np.float32)
    for index, scene in enumerate(scenes(count, is_test, side, most)):
        pixels[index] = scene.pixels
        rows[index, : len(scene.digits)] = np.column_stack([scene.digits, scene.boxes])
    return pixels, rows


def _labelled(count: int, is_test: bool, side: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    pixels, present = np.empty((count, 3, side, side), np.uint8), np.zeros((count, len(NAMES)), np.int64)
    for index, scene in enumerate(scenes(count, is_test, side, most)):
        pixels[index], present[index, scene.digits] = scene.pixels, 1
    return pixels, present


def masks(train: int = 2000, test: int = 500, side: int = 32, most: int = 3) -> dict[str, Any]:
    """Return scenes with a class for each pixel, paper or ink, as a recipe's data source does."""
    parts = {"train": (train, False), "test": (test, True)}
    return {**{name: _masked(*part, side, most) for name, part in parts.items()}, "classes": ("paper", "ink")}


def _masked(count: int, is_test: bool, side: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = list(scenes(count, is_test, side, most))
    return np.stack([scene.pixels for scene in drawn]), np.stack([scene.ink for scene in drawn]).astype(np.uint8)


def scenes(count: int, is_test: bool, side: int, most: int) -> Iterator[Scene]:
    """Draw ``count`` scenes with 1 to ``most`` digits, the same ones each time."""
    random = np.random.default_rng(int(is_test))
    digits, photographs = _digits(is_test), _photographs(is_test)
    for _ in range(count):
        yield _scene(random, digits, photographs, side, most)


def _scene(
    random: np.random.Generator,
    digits: list[tuple[np.ndarray, int]],
    photographs: list[np.ndarray],
    side: int,
    most: int,
) -> Scene:
    paper = _crop(random, photographs[random.integers(len(photographs))], side)
    found: list[int] = []
    boxes: list[tuple[int, int, int, int]] = []
    ink = np.zeros((side, side), bool)
    for _ in range(random.integers(1, most + 1)):
        image, digit = digits[random.integers(len(digits))]
        stroke = _written(random, image, int(random.integers(int(SMALLEST * side), int(LARGEST * side))))
        box = _free_place(random, stroke.shape, side, boxes)
        if box is not None:
            _ink(random, paper[box[1] : box[3], box[0] : box[2]], stroke)
            ink[box[1] : box[3], box[0] : box[2]] |= stroke > VISIBLE
            found.append(digit)
            boxes.append(box)
    pixels = paper.clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
    return Scene(pixels, np.array(found, np.int64), np.array(boxes, np.float32).reshape(-1, 4), ink)


def _crop(random: np.random.Generator, photograph: np.ndarray, side: int) -> np.ndarray:
    size = min(int(side * random.uniform(1, 2)), *photograph.shape[:2])
    top, left = (random.integers(length - size + 1) for length in photograph.shape[:2])
    part = Image.fromarray(photograph[top : top + size, left : left + size])
    return np.asarray(part.resize((side, side), Image.Resampling.BILINEAR), np.float32) * DUSK


def _written(random: np.random.Generator, image: np.ndarray, side: int) -> np.ndarray:
    """A digit's strokes, 0 to 1, turned a little, without the empty rows and columns around them."""
    drawn = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    turned = drawn.rotate(random.uniform(-15, 15), Image.Resampling.BILINEAR, expand=True)
    stroke = np.asarray(turned, np.float32) / 255
    rows, columns = (np.flatnonzero((stroke > VISIBLE).any(axis)) for axis in (1, 0))
    return stroke[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _free_place(
    random: np.random.Generator, shape: tuple[int, ...], side: int, taken: list[tuple[int, int, int, int]]
) -> tuple[int, int, int, int] | None:
    """A box that covers none that is taken, or None where ten tries find none."""
    height, width = shape
    for _ in range(10):
        top, left = (int(random.integers(side - length + 1)) for length in shape)
        box = (left, top, left + width, top + height)
        if all(box[2] <= x0 or x1 <= box[0] or box[3] <= y0 or y1 <= box[1] for x0, y0, x1, y1 in taken):
            return box
    return None


def _ink(random: np.random.Generator, paper: np.ndarray, stroke: np.ndarray) -> None:
    """Write on ``paper``, in place, in a light colour."""
    colour = random.uniform(LIGHTEST - 80, LIGHTEST, 3)
    paper[:] = paper * (1 - stroke[..., None]) + colour * stroke[..., None]


def _digits(is_test: bool) -> list[tuple[np.ndarray, int]]:
    from sklearn.datasets import load_digits

    every = load_digits()
    order = np.random.default_rng(0).permutation(len(every.images))
    own = order[TRAIN_DIGITS:] if is_test else order[:TRAIN_DIGITS]
    return [((every.images[index] * 255 / 16).astype(np.uint8), int(every.target[index])) for index in own]


def _photographs(is_test: bool) -> list[np.ndarray]:
    try:
        import skimage.data
    except ImportError as error:
        raise ImportError("digits are written on scikit-image's photographs: pip install scikit-image") from error
    from sklearn.datasets import load_sample_images

    folder = Path(skimage.data.__file__).parent
    paths = {name: next(folder.glob(f"{name}.*")) for name in PHOTOGRAPHS}
    known = {name: np.asarray(Image.open(path).convert("RGB")) for name, path in paths.items()}
    known |= dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    return [image for name, image in known.items() if (name in TEST_PHOTOGRAPHS) == is_test]
