import numpy as np
import pytest
import torch

from edgekd.errors import ModelError
from edgekd.quantize.calibration import Histogram, percentile

RNG = np.random.default_rng(1)
NORMAL = RNG.normal(0.3, 2, 50_000).astype(np.float32)
RELU = np.maximum(NORMAL, 0)


def of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(torch.from_numpy(values))
    return histogram


@pytest.mark.parametrize("percentage", [99.0, 99.9, 99.99, 100.0])
def test_an_affine_range_leaves_out_as_many_at_both_ends(percentage):
    histogram = of(NORMAL)
    low, high = percentile(histogram, 0, 255, False, percentage)
    cut = (100 - percentage) / 2
    expected = np.percentile(NORMAL.astype(np.float64), [cut, 100 - cut])
    assert (low, high) == pytest.approx(tuple(expected), abs=histogram.width + spacing(NORMAL, percentage))


def spacing(values: np.ndarray, percentage: float) -> float:
    """Between the values on either side of a percentile, which NumPy interpolates between."""
    ordered = np.sort(values)
    rank = int((100 - percentage) / 200 * (len(values) - 1))
    return float(max(ordered[rank + 1] - ordered[rank], ordered[-rank - 1] - ordered[-rank - 2]))


def test_percentiles_between_many_values_are_numpys_to_a_bin():
    histogram = of(NORMAL)
    low, high = percentile(histogram, 0, 255, False, 90)
    assert (low, high) == pytest.approx(tuple(np.percentile(NORMAL, [5, 95])), abs=histogram.width)


def test_a_symmetric_range_is_a_percentile_of_magnitudes():
    histogram = of(NORMAL)
    low, high = percentile(histogram, -127, 127, True, 99.0)
    assert high == pytest.approx(np.percentile(np.abs(NORMAL), 99.0), abs=histogram.width)
    assert low == -high


def test_after_a_relu_only_the_upper_end_is_cut():
    histogram = of(RELU)
    low, high = percentile(histogram, 0, 255, False, 99.0)
    assert low == 0.0
    assert high == pytest.approx(np.percentile(RELU, 99.0), abs=histogram.width)
    assert percentile(of(-RELU), 0, 255, False, 99.0) == pytest.approx((-high, 0.0), abs=histogram.width)


def test_zero_stays_in_the_range():
    """When fewer values are negative than are left out."""
    values = np.append(np.linspace(1, 2, 9999), -1.0).astype(np.float32)
    low, high = percentile(of(values), 0, 255, False, 99.0)
    assert low == 0.0
    assert high == pytest.approx(np.percentile(values, 99.5), abs=2e-3)


@pytest.mark.parametrize("percentage", [50, 100.1, float("nan")])
def test_percentages_that_cannot_be(percentage):
    with pytest.raises(ModelError, match=f"above 50 and at most 100, got {percentage}"):
        percentile(of(NORMAL), 0, 255, False, percentage)
