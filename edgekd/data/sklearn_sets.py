"""Real data with nothing to download, from scikit-learn."""

import numpy as np

from edgekd.data.arrays import from_arrays
from edgekd.data.raw import RawData, SourceKeys


def _split(x: np.ndarray, y: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import train_test_split

    # A fixed fifth: the test set is part of what the data set is, not of a recipe's seed.
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    return {"train": (train_x, train_y), "test": (test_x, test_y)}


def digits(data: SourceKeys) -> RawData:
    """Load 1,797 handwritten digits of 8x8 grey pixels (Alpaydin and Kaynak, 1998)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return from_arrays("digits", data, _split(images, bunch.target), tuple("0123456789"))


def breast_cancer(data: SourceKeys) -> RawData:
    """Load 569 vectors of 30 measurements of cell nuclei, malignant or benign (Street et al., 1993)."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    classes = tuple(str(name) for name in bunch.target_names)
    return from_arrays("breast_cancer", data, _split(bunch.data.astype(np.float32), bunch.target), classes)
