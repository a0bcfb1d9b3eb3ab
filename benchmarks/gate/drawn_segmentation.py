"""Masks: rectangles on a background, and logits that are right but for noise of two scales."""

import numpy as np
from drawn import Random, Simulation, TestSet, worse_by
from numpy.typing import NDArray

from edgekd.tasks.segmentation import Segmentation
from edgekd.tasks.segmentation.score import MaskPredictions, decode

CLASSES, SIDE, PATCH, DEAD = 4, 32, 8, 2
MARGIN, NOISE, ROUNDING, POINTS = 3.0, 0.8, 0.03, 0.02
TASK = Segmentation(tuple(f"class {number}" for number in range(CLASSES)))
MIOU = TASK.metrics[0]
Logits = NDArray[np.float32]


def draw(random: Random, samples: int) -> TestSet:
    masks = np.zeros((samples, SIDE, SIDE), np.uint8)
    for mask in masks:
        for _ in range(random.integers(1, 5)):
            top, left = random.integers(0, SIDE - 6, 2)
            height, width = random.integers(6, 16, 2)
            mask[top : top + height, left : left + width] = random.integers(1, CLASSES)
    right = masks[:, None] == np.arange(CLASSES)[:, None, None]
    known = random.random(masks.shape) < 0.98
    return TestSet({"classes": masks, "known": known}, (MARGIN * right + _noise(random, samples)).astype(np.float32))


def _noise(random: Random, samples: int) -> NDArray[np.float64]:
    """Draw noise of pixels, and of patches: whole regions are wrong, as in networks."""
    patches = random.normal(size=(samples, CLASSES, SIDE // PATCH, SIDE // PATCH)).repeat(PATCH, 2).repeat(PATCH, 3)
    return NOISE * (patches + random.normal(size=patches.shape))


def rounded(network: Logits, random: Random) -> Logits:
    return network + ROUNDING * random.standard_normal(network.shape, np.float32)


def noisy(drawn: TestSet, random: Random) -> Logits:
    noise = random.standard_normal(drawn.network.shape, np.float32)

    def change(strength: float) -> MaskPredictions:
        return decode(drawn.network + np.float32(strength) * noise)

    strength = worse_by(MIOU, POINTS, decode(drawn.network), change, drawn.targets, 5.0)
    found: Logits = drawn.network + np.float32(strength) * noise
    return found


def shifted(drawn: TestSet, random: Random) -> Logits:
    return np.roll(drawn.network, 1, 3)


def dead(drawn: TestSet, random: Random) -> Logits:
    found: Logits = drawn.network.copy()
    found[:, DEAD] = -100
    return found


SIMULATION = Simulation(
    task=TASK,
    sizes=(300,),
    draw=draw,
    rounded=rounded,
    faults={"2 points of mean IoU by noise": noisy, "masks shifted by a pixel": shifted, "one class dead": dead},
    predictions=decode,
)
