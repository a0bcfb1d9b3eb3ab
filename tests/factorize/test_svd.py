"""Truncated SVD against NumPy, and against the theorem of Eckart and Young."""

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.factorize.decomposition import Positions, Spectrum
from edgekd.factorize.factorization import _fill
from edgekd.factorize.plan import build, must_fit
from edgekd.factorize.registry import DECOMPOSITIONS

ONCE = Positions(1, 1, 1)
LAYERS = {
    "linear": (lambda: nn.Linear(12, 7), (5, 12)),
    "linear without a bias": (lambda: nn.Linear(7, 12, bias=False), (2, 3, 7)),
    "1x1": (lambda: nn.Conv2d(12, 7, 1), (2, 12, 5, 6)),
    "1x1 with a stride": (lambda: nn.Conv2d(7, 12, 1, stride=2, bias=False), (2, 7, 5, 6)),
    "1x1 with padding": (lambda: nn.Conv2d(7, 12, 1, padding=1, padding_mode="reflect"), (2, 7, 5, 6)),
    "1 tap of a sequence": (lambda: nn.Conv1d(12, 7, 1, stride=3), (2, 12, 11)),
}


def factors_of(layer: nn.Module, ranks: tuple[int, ...], method: str = "svd") -> tuple[nn.Sequential, float]:
    """The layers that replace ``layer``, filled, and the energy that they say they keep."""
    replacement = build(method, layer, ranks)
    factors = DECOMPOSITIONS[method](layer, ONCE).factors(ranks)
    _fill(replacement, layer, factors)
    return replacement, factors.energy


@pytest.mark.parametrize("name", LAYERS)
def test_full_rank_gives_the_same_outputs(name):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape)
    replacement, energy = factors_of(layer, (7,))
    torch.testing.assert_close(replacement(x), layer(x), rtol=1e-5, atol=1e-5)
    assert energy == pytest.approx(1)
    assert [type(part) for part in replacement] == 2 * [type(layer)]
    assert replacement[0].bias is None
    assert (replacement[1].bias is None) == (layer.bias is None)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_the_error_is_that_of_the_singular_values_left_out(rank):
    torch.manual_seed(0)
    layer = nn.Conv2d(12, 7, 1)
    matrix = layer.weight.detach().double().flatten(1).numpy()
    values = np.linalg.svd(matrix, compute_uv=False)
    replacement, energy = factors_of(layer, (rank,))
    first, last = (part.weight.detach().double().flatten(1).numpy() for part in replacement)
    assert np.linalg.norm(matrix - last @ first) == pytest.approx(np.sqrt((values[rank:] ** 2).sum()), rel=1e-5)
    assert energy == pytest.approx((values[:rank] ** 2).sum() / (values**2).sum())


def test_a_weight_of_rank_3_is_found_at_rank_3():
    torch.manual_seed(0)
    layer = nn.Linear(20, 30).double()
    layer.weight.data = torch.randn(30, 3).double() @ torch.randn(3, 20).double()
    assert DECOMPOSITIONS["svd"](layer, ONCE).ranks(1e-12) == (3,)
    replacement, energy = factors_of(layer, (3,))
    x = torch.randn(4, 20).double()
    torch.testing.assert_close(replacement(x), layer(x), rtol=1e-12, atol=1e-12)
    assert energy == pytest.approx(1, abs=1e-14)


def test_both_factors_have_one_range():
    torch.manual_seed(0)
    layer = nn.Linear(20, 30)
    layer.weight.data *= 100
    first, last = (part.weight.detach() for part in factors_of(layer, (9,))[0])
    values = torch.linalg.svdvals(layer.weight.detach())[:9]
    torch.testing.assert_close(first.square().sum(1), values)
    torch.testing.assert_close(last.square().sum(0), values)


@pytest.mark.parametrize(
    ("discard", "round_to", "rank"),
    [
        *((0.0, 1, 4), (0.009, 1, 4), (0.011, 1, 3), (0.049, 1, 3), (0.051, 1, 2), (0.21, 1, 1), (1.0, 1, 1)),
        *((0.011, 2, 4), (0.051, 2, 2), (0.21, 2, 2), (0.21, 3, 3), (0.051, 8, 4)),
    ],
)
def test_the_rank_for_a_share(discard, round_to, rank):
    """Squared singular values of 80, 15, 4 and 1 percent."""
    matrix = torch.diag(torch.tensor([80, 15, 4, 1.0], dtype=torch.float64).sqrt())
    assert Spectrum(matrix).rank(discard, round_to) == rank


def test_nothing_but_zeros_has_rank_1():
    layer = nn.Linear(4, 3)
    layer.weight.data.zero_()
    assert DECOMPOSITIONS["svd"](layer, ONCE).ranks(0.0) == (1,)
    replacement, energy = factors_of(layer, (1,))
    x = torch.randn(2, 4)
    assert torch.equal(replacement(x), layer(x))
    assert energy == 1


def test_multiply_accumulates_are_counted_at_each_position():
    layer = nn.Conv2d(12, 7, 1, stride=2)
    assert DECOMPOSITIONS["svd"](layer, Positions(30, 18, 9)).macs((2,)) == 2 * (12 + 7) * 9


@pytest.mark.parametrize("ranks", [(0,), (8,), (3, 3), ()])
def test_ranks_that_do_not_fit(ranks):
    with pytest.raises(ModelError) as error:
        must_fit("svd", nn.Linear(12, 7), ranks)
    assert str(error.value) == (
        f"svd takes ranks from 1 to [7] of Linear(in_features=12, out_features=7, bias=True), not {list(ranks)}"
    )


def test_a_method_for_other_layers():
    with pytest.raises(ModelError, match="^the factorisation method 'spatial' is for other layers than Linear"):
        must_fit("spatial", nn.Linear(12, 7), (1,))
    with pytest.raises(ModelError, match="^unknown factorisation method 'tuker' .did you mean 'tucker'"):
        must_fit("tuker", nn.Linear(12, 7), (1,))
