"""Keypoints and counts on scenes: where a handwritten digit lies on a photograph, and how many there are."""

from typing import Any

import numpy as np
import scenes
from torch import nn

NAMES = ("centre", "top", "bottom", "left", "right")


def points(train: int = 3000, test: int = 600, side: int = 64) -> dict[str, Any]:
    """Return scenes of one digit with its centre and the middles of its four sides, as a data source does."""
    return {**_parts(train, test, side, 1, _middles), "classes": NAMES}


def counts(train: int = 3000, test: int = 600, side: int = 64, most: int = 3) -> dict[str, Any]:
    """Return scenes with how many digits they show, as a data source does."""
    return {**_parts(train, test, side, most, lambda scene: len(scene.digits)), "classes": ["digits"]}


def network(input_shape: tuple[int, ...], num_classes: int, width: int = 16) -> nn.Module:
    """Build six convolutions in three sizes and a linear layer: unlike an average over the image, it knows places."""
    layers: list[nn.Module] = []
    channels, height, side = input_shape
    for factor in (1, 2, 4):
        for stride in (1, 2):
            layers += [nn.Conv2d(channels, factor * width, 3, stride, 1, bias=False), nn.BatchNorm2d(factor * width)]
            layers.append(nn.ReLU())
            channels = factor * width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (height // 8) * (side // 8), num_classes))


def _parts(train: int, test: int, side: int, most: int, target: Any) -> dict[str, Any]:
    found = {}
    for name, count, is_test in (("train", train, False), ("test", test, True)):
        drawn = list(scenes.scenes(count, is_test, side, most))
        targets = np.array([target(scene) for scene in drawn], np.float32)
        found[name] = np.stack([scene.pixels for scene in drawn]), targets
    return found


def _middles(scene: scenes.Scene) -> np.ndarray:
    left, top, right, bottom = scene.boxes[0]
    x, y = (left + right) / 2, (top + bottom) / 2
    return np.array([(x, y), (x, top), (x, bottom), (left, y), (right, y)])
