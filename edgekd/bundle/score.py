"""The accuracy of a bundle on arrays: needs NumPy and ONNX Runtime, and nothing else."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.bundle.predict import Predictor
from edgekd.bundle.session import BATCH
from edgekd.errors import DataError
from edgekd.tasks.classification.score import predicted_classes


@dataclass(frozen=True)
class Score:
    """``correct`` of ``n`` samples were classified correctly."""

    correct: int
    n: int

    @property
    def accuracy(self) -> float:
        """Return the share of correct samples, in [0, 1]."""
        return self.correct / self.n


def score(bundle: Path, samples: np.ndarray, labels: np.ndarray, batch: int = BATCH, threads: int = 0) -> Score:
    """Verify ``bundle`` and classify ``samples`` with it.

    Args:
        samples: raw, before any scaling: uint8 (N, C, H, W) of the network's size, or float (N, F).
        labels: (N,) integers, positions in the manifest's labels.
        batch: samples in one inference, at least 1.
        threads: of ONNX Runtime; 0 lets it choose.

    Raises:
        BundleError: the bundle was changed.
        DataError: samples of another shape or type, or labels that do not fit them.
    """
    predictor = Predictor(bundle, threads)
    must_be_labels(labels, len(samples), len(predictor.manifest.labels))
    correct = 0
    for start in range(0, len(samples), batch):
        logits = predictor.run(predictor.preprocess.apply(samples[start : start + batch]), batch)
        correct += int((predicted_classes(logits) == labels[start : start + batch]).sum())
    return Score(correct, len(samples))


def must_be_labels(labels: np.ndarray, n: int, classes: int) -> None:
    if n < 1 or labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels are {labels.dtype} {labels.shape}, expected one integer for each of {n} samples")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"labels are {labels.min()} to {labels.max()}, the bundle has the classes 0 to {classes - 1}")
