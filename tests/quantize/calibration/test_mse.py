import numpy as np
import pytest
import torch
from scipy.optimize import brute, minimize_scalar

from edgekd.quantize.calibration import Histogram, mse
from edgekd.quantize.calibration.mse import squared_error

RNG = np.random.default_rng(2)
LAPLACE = RNG.laplace(0.5, 1, 20_000).astype(np.float32)
OUTLIER = np.append(RNG.normal(0, 1, 20_000), 30).astype(np.float32)


def of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(torch.from_numpy(values))
    return histogram


def affine_error(values: np.ndarray, low: float, high: float, levels: int) -> float:
    scale = (high - low) / (levels - 1)
    zero_point = np.round(-low / scale)
    codes = np.clip(np.round(values / scale) + zero_point, 0, levels - 1)
    return float(np.mean(((codes - zero_point) * scale - values.astype(np.float64)) ** 2))


def symmetric_error(values: np.ndarray, bound: float, highest: int) -> float:
    scale = bound / highest
    codes = np.clip(np.round(values / scale), -highest, highest)
    return float(np.mean((codes * scale - values.astype(np.float64)) ** 2))


def runtime_error(values: np.ndarray, low: float, high: float) -> float:
    """torch's own fake-quantisation."""
    scale = (high - low) / 255
    x = torch.from_numpy(values)
    quantised = torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, 255)
    return float((quantised.double() - x.double()).square().mean())


@pytest.mark.parametrize("values", [LAPLACE, OUTLIER])
@pytest.mark.parametrize("highest", [7, 127])
def test_symmetric_ranges_are_as_good_as_scipys(values, highest):
    low, high = mse(of(values), -highest, highest, True)
    largest = float(np.abs(values).max())
    grid = np.geomspace(largest / 1000, largest, 60)
    start = int(np.argmin([symmetric_error(values, bound, highest) for bound in grid]))
    around = (grid[max(start - 1, 0)], grid[min(start + 1, 59)])
    best = minimize_scalar(lambda bound: symmetric_error(values, bound, highest), bounds=around, method="bounded")
    assert low == -high
    assert symmetric_error(values, high, highest) <= best.fun * 1.01


@pytest.mark.parametrize("levels, tolerance", [(16, 1.03), (256, 1.01)])
def test_affine_ranges_are_as_good_as_scipys(levels, tolerance):
    """With few levels, the rounding of the zero point makes many local optima."""
    values = LAPLACE[:4000]
    low, high = mse(of(values), 0, levels - 1, False)
    ends = (slice(float(values.min()), 0, 0.25), slice(0.5, float(values.max()) + 0.25, 0.25))
    _, best, _, _ = brute(lambda ends: affine_error(values, *ends, levels=levels), ends, full_output=True)
    assert affine_error(values, low, high, levels=levels) <= best * tolerance


def test_eight_bits_of_a_normal_tensor():
    """The best clip of a normal distribution at 8 bits is at 3.92 σ for 256 levels (Banner et al. 2019, table 1)."""
    normal = np.random.default_rng(0).normal(0, 1, 400_000).astype(np.float32)
    _, high = mse(of(normal), -127, 127, True)
    assert high == pytest.approx(3.92, rel=0.03)


def test_the_error_is_that_of_the_raw_values():
    histogram = of(LAPLACE)
    lows, highs = torch.tensor([-2.0, -1.0, 0.0]), torch.tensor([5.0, 3.0, 8.0])
    ours = squared_error(histogram, lows, highs, 0, 255, False).double() + histogram.width**2 / 12
    expected = [runtime_error(LAPLACE, float(low), float(high)) for low, high in zip(lows, highs, strict=True)]
    assert ours.tolist() == pytest.approx(expected, rel=0.01)


def test_an_outlier_is_clipped_at_four_bits():
    _, high = mse(of(OUTLIER), -7, 7, True)
    assert high < 10


def test_after_a_relu_the_range_starts_at_zero():
    low, high = mse(of(np.maximum(LAPLACE, 0)), 0, 255, False)
    assert low == 0.0
    assert 0 < high <= LAPLACE.max()


def test_values_on_a_grid_lose_nothing():
    values = np.arange(256, dtype=np.float32).repeat(10)
    low, high = mse(of(values), 0, 255, False)
    assert affine_error(values, low, high, levels=256) < 1e-3
