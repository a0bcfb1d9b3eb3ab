"""Boxes: most objects are found, some with small errors, some are missed, and some boxes are of nothing."""

from dataclasses import replace

import numpy as np
from drawn import Random, Simulation, TestSet, worse_by

from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.decode import DetectedBoxes, sigmoid
from edgekd.tasks.detection.targets import PADDING, by_name

CLASSES, SIDE, MOST, FALSE, DEAD = 5, 128, 6, 3, 2
FOUND, ERROR, FAINTER = 0.85, 0.06, 0.6
# Of another kernel: in sides of boxes, and of logits.
ROUNDING, OF_SCORES = 0.005, 0.05
SHIFT, POINTS = 0.05, 0.03
TASK = Detection(tuple(f"class {number}" for number in range(CLASSES)))
MAP = TASK.metrics[0]


def draw(random: Random, samples: int) -> TestSet:
    corners, sides = _boxes(random, samples, MOST)
    kinds = random.integers(0, CLASSES, (samples, MOST))
    # Some images have no object.
    there = np.arange(MOST) < random.integers(0, MOST + 1, (samples, 1))
    stored = np.concatenate([np.where(there, kinds, PADDING)[..., None], corners, corners + sides], 2)
    hits = np.concatenate([corners, corners + sides], 2) + ERROR * np.tile(sides, 2) * random.normal(
        size=(samples, MOST, 4)
    )
    is_found = there & (random.random(there.shape) < FOUND)
    false_corners, false_sides = _boxes(random, samples, FALSE)
    false_kinds = np.where(
        random.random((samples, FALSE)) < 0.3, random.integers(0, CLASSES, (samples, FALSE)), PADDING
    )
    logits = np.hstack([random.normal(1.2, 1.2, (samples, MOST)), random.normal(-1.0, 1.0, (samples, FALSE))])
    network = DetectedBoxes(
        np.concatenate([hits, np.concatenate([false_corners, false_corners + false_sides], 2)], 1).astype(np.float32),
        sigmoid(logits),
        np.hstack([np.where(is_found, kinds, PADDING), false_kinds]),
        CLASSES,
        TASK.threshold,
    )
    return TestSet(by_name(stored.astype(np.float32)), network)


def _boxes(random: Random, samples: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    sides = random.uniform(12, 48, (samples, count, 2))
    return random.uniform(0, 1, sides.shape) * (SIDE - sides), sides


def rounded(network: DetectedBoxes, random: Random) -> DetectedBoxes:
    logits = np.log(network.scores) - np.log1p(-network.scores)
    scores = sigmoid(logits + OF_SCORES * random.normal(size=logits.shape))
    return replace(_moved(network, ROUNDING * random.normal(size=network.boxes.shape)), scores=scores)


def _moved(network: DetectedBoxes, by: np.ndarray | float) -> DetectedBoxes:
    """Move the corners by so many of a box's sides."""
    sides = network.boxes[..., 2:] - network.boxes[..., :2]
    return replace(network, boxes=(network.boxes + by * np.tile(sides, 2)).astype(np.float32))


def noisy(drawn: TestSet, random: Random) -> DetectedBoxes:
    noise = random.normal(size=drawn.network.boxes.shape)

    def change(strength: float) -> DetectedBoxes:
        return _moved(drawn.network, strength * noise)

    return change(worse_by(MAP, POINTS, drawn.network, change, drawn.targets, 0.3))


def missed(drawn: TestSet, random: Random) -> DetectedBoxes:
    chance = random.random(drawn.network.scores.shape)

    def change(strength: float) -> DetectedBoxes:
        return replace(drawn.network, classes=np.where(chance < strength, PADDING, drawn.network.classes))

    return change(worse_by(MAP, POINTS, drawn.network, change, drawn.targets, 0.5))


def shifted(drawn: TestSet, random: Random) -> DetectedBoxes:
    return _moved(drawn.network, SHIFT)


def dead(drawn: TestSet, random: Random) -> DetectedBoxes:
    return replace(drawn.network, classes=np.where(drawn.network.classes == DEAD, PADDING, drawn.network.classes))


def fainter(drawn: TestSet, random: Random) -> DetectedBoxes:
    """The order stays, and with it mean average precision."""
    return replace(drawn.network, scores=np.float32(FAINTER) * drawn.network.scores)


SIMULATION = Simulation(
    task=TASK,
    sizes=(400,),
    draw=draw,
    rounded=rounded,
    faults={
        "3 mAP by noise of boxes": noisy,
        "3 mAP by missed objects": missed,
        "boxes shifted by 5 % of their size": shifted,
        "one class dead": dead,
        "all scores × 0.6": fainter,
    },
    predictions=lambda network: network,
)
