"""Masks as a network might give them: true ones of a few blobs, and logits that are right but for noise."""

import numpy as np

CLASSES = 4


def drawn(n: int = 60, size: int = 16, noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return masks (n, size, size) and logits (n, classes, size, size)."""
    random = np.random.default_rng(seed)
    masks = np.zeros((n, size, size), np.uint8)
    for mask in masks:
        for _ in range(3):
            top, left = random.integers(0, size - 4, 2)
            mask[top : top + 6, left : left + 6] = random.integers(1, CLASSES)
    right = (masks[:, None] == np.arange(CLASSES)[:, None, None]).astype(np.float32)
    return masks, 2 * right + noise * random.normal(size=right.shape).astype(np.float32)


def partly(masks: np.ndarray) -> np.ndarray:
    """Return the masks with some pixels that do not count."""
    return np.where(np.random.default_rng(1).random(masks.shape) < 0.1, 255, masks).astype(np.uint8)
