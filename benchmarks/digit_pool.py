"""A source of data for benchmarks/fit.py: handwritten digits, of which each seed draws other test samples."""

from typing import Any

import numpy as np


def drawn(seed: int = 0, test: int = 700) -> dict[str, Any]:
    """Return 1,797 digits of 8x8 grey pixels, ``test`` of them drawn to test on."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    parts = train_test_split(images, bunch.target, test_size=test, random_state=seed, stratify=bunch.target)
    train_x, test_x, train_y, test_y = parts
    return {"train": (train_x, train_y), "test": (test_x, test_y), "classes": list("0123456789")}
