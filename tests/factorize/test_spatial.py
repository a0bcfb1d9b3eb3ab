"""A convolution along columns, then along rows, against the separable filters that it stands for."""

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.factorize.decomposition import Positions
from edgekd.factorize.registry import DECOMPOSITIONS
from edgekd.models import count_macs
from tests.factorize.test_svd import ONCE, factors_of

LAYERS = {
    "3x3": {"kernel_size": 3, "padding": 1},
    "strides of its own": {"kernel_size": (3, 5), "stride": (2, 3), "padding": (0, 2), "bias": False},
    "dilated, same": {"kernel_size": 3, "dilation": (1, 2), "padding": "same"},
    "valid": {"kernel_size": 2, "padding": "valid"},
    "reflected": {"kernel_size": 3, "padding": (2, 1), "padding_mode": "reflect"},
}


@pytest.mark.parametrize("name", LAYERS)
def test_full_rank_gives_the_same_outputs(name):
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 6, **LAYERS[name]), torch.randn(2, 4, 9, 11)
    full = DECOMPOSITIONS["spatial"].full(layer)
    replacement, energy = factors_of(layer, full, "spatial")
    torch.testing.assert_close(replacement(x), layer(x), rtol=1e-5, atol=1e-5)
    assert energy == pytest.approx(1)


def test_separable_filters_are_found_at_their_rank():
    """One column and one row for all filters, and weights between channels of rank 1: rank 1."""
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3)
    parts = [torch.randn(size) for size in (6, 4, 3, 3)]
    layer.weight.data = torch.einsum("o,i,h,w->oihw", *parts)
    assert DECOMPOSITIONS["spatial"](layer, ONCE).ranks(1e-9) == (1,)
    replacement, _ = factors_of(layer, (1,), "spatial")
    x = torch.randn(2, 4, 9, 11)
    torch.testing.assert_close(replacement(x), layer(x), rtol=1e-4, atol=1e-4)
    assert [part.kernel_size for part in replacement] == [(3, 1), (1, 3)]


@pytest.mark.parametrize("rank", [2, 7])
def test_the_error_is_that_of_the_singular_values_left_out(rank):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3)
    weight = layer.weight.detach().double().numpy()
    values = np.linalg.svd(weight.transpose(1, 2, 0, 3).reshape(12, 18), compute_uv=False)
    replacement, energy = factors_of(layer, (rank,), "spatial")
    columns, rows = (part.weight.detach().double().numpy() for part in replacement)
    error = weight - np.einsum("rih,orw->oihw", columns[..., 0], rows[:, :, 0])
    assert np.linalg.norm(error) == pytest.approx(np.sqrt((values[rank:] ** 2).sum()), rel=1e-5)
    assert energy == pytest.approx((values[:rank] ** 2).sum() / (values**2).sum())


def test_multiply_accumulates_are_those_of_the_layers():
    """From 9 rows by 11 columns to 5 by 4: between them, 5 rows by 11 columns."""
    layer = nn.Conv2d(4, 6, (3, 5), stride=(2, 3), padding=(1, 2))
    replacement, _ = factors_of(layer, (7,), "spatial")
    expected = 7 * 4 * 3 * 5 * 11 + 6 * 7 * 5 * 5 * 4
    assert DECOMPOSITIONS["spatial"](layer, Positions(99, 55, 20)).macs((7,)) == expected
    assert count_macs(replacement, (4, 9, 11)) == expected


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, (1, 3)), nn.Conv2d(4, 6, 1), nn.Conv1d(4, 6, 3), nn.Linear(4, 6)])
def test_what_has_one_axis_is_not_separated(layer):
    assert not DECOMPOSITIONS["spatial"].suits(layer)
