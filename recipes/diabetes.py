"""A table: how far diabetes has progressed in a year, by ten measurements of a patient (Efron et al., 2004)."""

from typing import Any

import numpy as np


def patients() -> dict[str, Any]:
    """Return scikit-learn's 442 patients, a fixed fifth of them for the test, as a recipe's data source does."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    bunch = load_diabetes(scaled=False)
    train_x, test_x, train_y, test_y = train_test_split(
        bunch.data.astype(np.float32), bunch.target, test_size=0.2, random_state=0
    )
    return {"train": (train_x, train_y), "test": (test_x, test_y), "classes": ["progression"]}
