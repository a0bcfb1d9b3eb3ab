"""Drawn objects and a detector's answers: moved boxes, false ones, ties, crowds and images without objects."""

import numpy as np

from edgekd.tasks.detection.decode import DetectedBoxes
from edgekd.tasks.detection.targets import by_name, padded


def objects(n=40, classes=4, seed=0, crowds=0.1, whole=True, difficult=0.0):
    """Stored targets (n, M, 5); on whole numbers overlaps tie and hit thresholds exactly."""
    random, rows = np.random.default_rng(seed), []
    for _ in range(n):
        count = random.integers(0, 6)
        corners, sides = random.integers(0, 12, (count, 2)), random.integers(2, 8, (count, 2))
        if not whole:
            corners, sides = corners + random.random((count, 2)), sides + random.random((count, 2))
        kinds = random.integers(0, classes, count).astype(float)
        kinds = np.where(random.random(count) < crowds, -2 - kinds, kinds)
        if difficult:
            kinds = np.where((kinds >= 0) & (random.random(count) < difficult), -32768 - kinds, kinds)
        rows.append(np.column_stack([kinds, corners, corners + sides]))
    return padded(rows)


def detections(stored, classes=4, seed=1, most=9, quality=0.7, digits=1):
    """A detector's boxes for the ``stored`` objects, whose scores tie."""
    random, n = np.random.default_rng(seed), len(stored)
    targets = by_name(stored)
    rows = np.zeros((n, most + stored.shape[1], 6), np.float32)
    rows[..., 5] = -1
    for image in range(n):
        there = targets["classes"][image] >= 0
        boxes, kinds = targets["boxes"][image, there], targets["classes"][image, there]
        hit = random.random(len(kinds)) < quality
        moved = boxes[hit] + random.integers(-1, 2, (hit.sum(), 4)) * (random.random((hit.sum(), 1)) < 0.5)
        count = random.integers(0, most)
        corners = random.integers(0, 14, (count, 2))
        false = np.hstack([corners, corners + random.integers(1, 8, (count, 2))])
        found = np.vstack([moved, false])
        scores = np.round(np.r_[random.beta(4, 2, hit.sum()), random.beta(1, 3, count)], digits)
        kinds = np.r_[kinds[hit], random.integers(0, classes, count)]
        order = random.permutation(len(found))
        keep = order[((found[order, 2:] - found[order, :2]) > 0).all(1)]
        rows[image, : len(keep)] = np.column_stack([found[keep], scores[keep], kinds[keep]])
    return DetectedBoxes(rows[..., :4], rows[..., 4], rows[..., 5].astype(np.int64), classes)


def heads(family: str, n: int = 1, classes: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw outputs of heads for images of 32x32: ``maps``, ``bins``; with anchors ``ssd``, ``fcos``, ``retinanet``."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=(n, *shape)).astype(np.float32)

    sizes = ((8, 4), (16, 2))
    if family in ("maps", "bins"):
        found = {f"cls.{stride}": 2 * normal(classes, side, side) for stride, side in sizes}
        if family == "bins":
            return found | {f"bins.{stride}": 2 * normal(4 * 5, side, side) for stride, side in sizes}
        return found | {f"box.{stride}": 1 + normal(4, side, side) for stride, side in sizes}
    corners = random.uniform(0, 24, (1, 40, 2))
    anchors = np.concatenate([corners, corners + random.uniform(4, 12, (1, 40, 2))], 2).astype(np.float32)
    found = {"anchors": anchors.repeat(n, 0), "scores": 2 * normal(40, classes + (family == "ssd"))}
    if family == "fcos":
        return found | {"distances": 1 + normal(40, 4), "centerness": 2 + normal(40, 1)}
    scales = {"scales": np.array([[10, 10, 5, 5]], np.float32).repeat(n, 0)} if family == "ssd" else {}
    return found | {"deltas": normal(40, 4) * (2 if scales else 0.3)} | scales
