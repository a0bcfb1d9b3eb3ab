"""Drawn targets and outputs of regression."""

import numpy as np

NAMES = ("weight", "waist", "pulse")


def drawn(n: int = 300, error: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised outputs (n, 3) of a network and the values (n, 3) in units that it was to predict."""
    random = np.random.default_rng(seed)
    exact = random.normal(size=(n, 3))
    values = np.array([180.0, 35.0, 56.0]) + np.array([25.0, 3.0, 7.0]) * exact
    return (exact + error * random.normal(size=exact.shape)).astype(np.float32), values.astype(np.float32)
