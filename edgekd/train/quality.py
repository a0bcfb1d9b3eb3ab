"""Metrics of predictions besides accuracy: calibration error, reliability, likelihood, correct samples by class."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Compute the expected calibration error: Σ |bin| / N · |accuracy − confidence| over bins of equal width.

    Naeini et al. (2015), as in Guo et al., "On Calibration of Modern Neural Networks" (2017), equation 3.

    Args:
        logits: (N, classes).
        labels: (N,).

    Returns:
        In [0, 1]; 0 is calibrated.
    """
    gaps = [each.n * abs(each.accuracy - each.confidence) for each in reliability(logits, labels, bins)]
    return sum(gaps) / len(labels)


class Bin(NamedTuple):
    """A bin of ``n`` predictions of similar confidence: their mean ``confidence``, and the share that is correct."""

    n: int
    confidence: float
    accuracy: float


def reliability(logits: Tensor, labels: Tensor, bins: int = BINS) -> list[Bin]:
    """Sort predictions into bins of equal width by confidence, as in a reliability diagram; leave empty ones out.

    Args:
        logits: (N, classes).
        labels: (N,).
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    correct = (predicted == labels).double()
    # The right end belongs to a bin: a confidence of 1 is in the last one.
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    zeros = torch.zeros(bins, dtype=torch.float64)
    counts, *sums = (zeros.index_add(0, place, each) for each in (torch.ones_like(correct), confidence, correct))
    return [
        Bin(int(n), float(confidences / n), float(corrects / n))
        for n, confidences, corrects in zip(counts, *sums, strict=True)
        if n
    ]


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Compute the mean of −log of the label's probability, in nats; logits (N, classes), labels (N,)."""
    return float(F.cross_entropy(logits.double(), labels))


def correct_by_class(logits: Tensor, labels: Tensor, classes: int) -> list[int]:
    """Count the correctly classified samples of each class; logits (N, classes), labels (N,)."""
    return torch.bincount(labels[logits.argmax(1) == labels], minlength=classes).tolist()
