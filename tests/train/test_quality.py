import itertools

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from edgekd.train.quality import correct_by_class, expected_calibration_error, negative_log_likelihood, reliability


def answers(seed: int, count: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(count, 7, generator=generator), torch.randint(0, 7, (count,), generator=generator)


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_the_calibration_error_by_numpy(bins):
    logits, labels = answers(0)
    probabilities = softmax(logits.double().numpy(), axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels.numpy()
    edges, expected = np.linspace(0, 1, bins + 1), 0.0
    for low, high in itertools.pairwise(edges):
        within = (confidence > low) & (confidence <= high)
        if within.any():
            expected += within.mean() * abs(right[within].mean() - confidence[within].mean())
    assert expected_calibration_error(logits, labels, bins) == pytest.approx(expected, abs=1e-12)


def test_certain_answers():
    """All confidence is 1: the error is the share of wrong answers."""
    labels = torch.tensor([0, 0, 0, 1])
    logits = 1e4 * torch.nn.functional.one_hot(torch.tensor([0, 0, 0, 0]), 2).float()
    assert expected_calibration_error(logits, labels) == pytest.approx(0.25)


def test_the_bins_hold_every_answer_once():
    logits, labels = answers(2)
    bins = reliability(logits, labels)
    confidences = [each.confidence for each in bins]
    assert sum(each.n for each in bins) == len(labels) and confidences == sorted(confidences)
    right = float((logits.argmax(1) == labels).double().mean())
    assert sum(each.n * each.accuracy for each in bins) / len(labels) == pytest.approx(right)


def test_the_likelihood_by_scipy():
    logits, labels = answers(1)
    expected = -log_softmax(logits.double().numpy(), axis=1)[np.arange(500), labels.numpy()].mean()
    assert negative_log_likelihood(logits, labels) == pytest.approx(expected)


def test_correct_by_class():
    logits, labels = answers(2)
    expected = [int(((logits.argmax(1) == k) & (labels == k)).sum()) for k in range(9)]
    assert correct_by_class(logits, labels, 9) == expected
