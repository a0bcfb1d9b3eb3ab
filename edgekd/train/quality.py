"""What an accuracy does not say of a network's answers."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """How far confidence is from accuracy: Σ |bin| / N · |accuracy − confidence| over bins of equal width.

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
    """Of the ``n`` answers of about one confidence their mean ``confidence``, and the share that is right."""

    n: int
    confidence: float
    accuracy: float


def reliability(logits: Tensor, labels: Tensor, bins: int = BINS) -> list[Bin]:
    """The bins of equal width in which answers lie, by rising confidence: the points of a reliability diagram.

    Args:
        logits: (N, classes).
        labels: (N,).
    """
    confidence, answer = logits.double().softmax(1).max(1)
    right = (answer == labels).double()
    # The right end belongs to a bin: a confidence of 1 is in the last one.
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    zeros = torch.zeros(bins, dtype=torch.float64)
    counts, *sums = (zeros.index_add(0, place, each) for each in (torch.ones_like(right), confidence, right))
    return [
        Bin(int(n), float(confident / n), float(correct / n))
        for n, confident, correct in zip(counts, *sums, strict=True)
        if n
    ]


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """The mean of −log of the probability given to the label, in nats; logits (N, classes), labels (N,)."""
    return float(F.cross_entropy(logits.double(), labels))


def right_by_class(logits: Tensor, labels: Tensor, classes: int) -> list[int]:
    """How many samples of each class are answered rightly; logits (N, classes), labels (N,)."""
    return torch.bincount(labels[logits.argmax(1) == labels], minlength=classes).tolist()
