import numpy as np
import pytest
import torch
from scipy.stats import entropy as kl

from edgekd.quantize.calibration import Histogram, entropy
from edgekd.quantize.calibration.entropy import divergence

RNG = np.random.default_rng(3)
UNIFORM = RNG.uniform(-1, 1, 400_000).astype(np.float32)
NORMAL = RNG.normal(0, 1, 100_000)
HEAVY = np.append(NORMAL, [60.0, -50.0, 80.0]).astype(np.float32)


def of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(torch.from_numpy(values.astype(np.float32)))
    return histogram


def test_divergence_of_the_example_in_the_slides():
    """Migacz, slide 38: eight bins to two levels; [1 0 2 3] becomes [2 0 2 2], [5 3 1 7] becomes [4 4 4 4]."""
    counts = torch.tensor([1, 0, 2, 3, 5, 3, 1, 7], dtype=torch.float64)
    p, q = [1, 0, 2, 3, 5, 3, 1, 7], [2, 0, 2, 2, 4, 4, 4, 4]
    assert divergence(counts, 0, 8, 2) == pytest.approx(kl(p, q), rel=1e-12)


def test_what_is_outside_goes_to_the_ends_of_the_reference_only():
    counts = torch.tensor([5, 1, 3, 2, 4, 6, 9], dtype=torch.float64)
    p, q = [5 + 1, 3, 2, 4 + 6 + 9], [2, 2, 3, 3]
    assert divergence(counts, 1, 5, 2) == pytest.approx(kl(p, q), rel=1e-12)


def test_nothing_left_of_the_values():
    counts = torch.tensor([0, 0, 1, 5], dtype=torch.float64)
    assert divergence(counts, 0, 2, 1) == torch.inf


@pytest.mark.parametrize("symmetric, codes", [(True, (-127, 127)), (False, (0, 255))])
def test_a_uniform_tensor_keeps_its_whole_range(symmetric, codes):
    low, high = entropy(of(UNIFORM), *codes, symmetric)
    assert (low, high) == pytest.approx((-1, 1), abs=0.01)


@pytest.mark.parametrize("symmetric, codes", [(True, (-127, 127)), (False, (0, 255))])
def test_a_heavy_tail_is_clipped(symmetric, codes):
    low, high = entropy(of(HEAVY), *codes, symmetric)
    assert -40 < low < -NORMAL.std() * 2.5
    assert NORMAL.std() * 2.5 < high < 40


def test_the_ends_of_a_skewed_tensor_differ():
    skewed = np.where(NORMAL < 0, NORMAL / 10, NORMAL)
    low, high = entropy(of(skewed), 0, 255, False)
    assert -low < high / 4


def test_a_symmetric_range_is_the_least_divergent_of_all():
    """Against a search over every bin."""
    values = np.random.default_rng(4).laplace(0, 1, 20_000)
    histogram = of(values)
    _, high = entropy(histogram, -127, 127, True)
    counts = histogram.magnitudes.double()
    last = int(counts.nonzero()[-1]) + 1
    best = min(divergence(counts, 0, stop, 128) for stop in range(128, last + 1, 3))
    assert divergence(counts, 0, min(round(high / histogram.width), last), 128) <= best * 1.05 + 1e-6


def test_the_zeros_of_a_relu_do_not_pull_the_range_in():
    """Only the positive half counts, whatever the number of zeros beside it."""
    positive = np.abs(NORMAL)
    without = entropy(of(positive), 0, 255, False)
    with_zeros = entropy(of(np.append(positive, np.zeros(300_000))), 0, 255, False)
    assert with_zeros == without
    assert without[0] == 0.0
    assert without[1] > 2.5
