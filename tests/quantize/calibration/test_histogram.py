import numpy as np
import pytest
import torch

from edgekd.errors import ModelError
from edgekd.quantize.calibration import Histogram


def filled(*batches: torch.Tensor, bins: int = 8192) -> Histogram:
    histogram = Histogram(bins)
    for batch in batches:
        histogram.add(batch)
    return histogram


@pytest.fixture
def values() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_t(3, 20_000).astype(np.float32))


def test_counts_are_numpys(values):
    histogram = filled(values, bins=256)
    expected, _ = np.histogram(values.numpy().astype(np.float64), histogram.edges.numpy())
    assert histogram.counts.tolist() == expected.tolist()
    assert (histogram.low, histogram.high) == (float(values.min()), float(values.max()))
    assert histogram.total == 20_000


def test_the_width_is_the_least_power_of_two_that_holds_all(values):
    histogram = filled(values, bins=256)
    largest = float(values.abs().max())
    assert histogram.width == 2.0 ** np.ceil(np.log2(largest / 128))


@pytest.mark.parametrize("largest", [1.0, 0.5, -4.0, 3.9999998, 1e-30, 3e38])
def test_the_largest_value_has_a_bin(largest):
    histogram = filled(torch.tensor([largest, 0.0, largest / 3]), bins=16)
    assert histogram.total == 3
    assert float(histogram.edges[0]) <= largest < float(histogram.edges[-1])


def test_neither_the_order_nor_the_size_of_batches_matters(values):
    ascending = filled(*values.sort().values.split(77))
    at_once = filled(values.flip(0))
    assert ascending.width == at_once.width
    assert torch.equal(ascending.counts, at_once.counts)


def test_values_are_read_in_any_type_and_shape(values):
    half = values.half()
    assert torch.equal(filled(half.reshape(20, 10, 100)).counts, filled(half.float()).counts)


def test_more_values_than_are_counted_at_once():
    """A chunk is 2**22 values."""
    histogram = filled(torch.ones(1).expand(2**22 + 5))
    assert histogram.total == int(histogram.counts.max()) == 2**22 + 5


def test_magnitudes_are_counts_of_absolute_values(values):
    histogram = filled(values, bins=256)
    edges = histogram.edges[128:].numpy()
    expected, _ = np.histogram(values.abs().numpy().astype(np.float64), edges)
    assert histogram.magnitudes.tolist() == expected.tolist()


def test_zeros_are_counted():
    histogram = filled(torch.tensor([0.0, -0.0, 1e-20, 1.0]), torch.zeros(3))
    assert (histogram.zeros, histogram.total) == (5, 7)


def test_zeros_alone():
    histogram = filled(torch.zeros(5))
    assert (histogram.low, histogram.high, histogram.total) == (0.0, 0.0, 5)


def test_occupied_bins_are_numpys(values):
    histogram = filled(values[:50], bins=256)
    centres, counts = histogram.occupied()
    expected, edges = np.histogram(values[:50].numpy().astype(np.float64), histogram.edges.numpy())
    middles = (edges[:-1] + edges[1:]) / 2
    assert centres.tolist() == middles[expected > 0].tolist()
    assert counts.tolist() == expected[expected > 0].tolist()


def test_an_empty_batch_changes_nothing():
    assert filled(torch.empty(0, 3)).total == 0


def test_values_that_are_not_finite():
    values = torch.tensor([torch.nan, torch.inf, -torch.inf, 1.0])
    with pytest.raises(ModelError) as error:
        Histogram().add(values)
    assert str(error.value) == "1 NaN and 2 infinite among 4 values"
    with pytest.raises(ModelError, match="^1 infinite among 2 values$"):
        Histogram().add(values[2:])


@pytest.mark.parametrize("bins", [0, 2, 100])
def test_bins_must_be_a_power_of_two(bins):
    with pytest.raises(ModelError, match=f"a power of two of at least 4, got {bins}; try 8192"):
        Histogram(bins)
