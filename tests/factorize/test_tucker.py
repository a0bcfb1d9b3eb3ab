"""Tucker-2 against NumPy's singular values and the bound of the truncated higher-order SVD."""

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.factorize.decomposition import Positions
from edgekd.factorize.registry import DECOMPOSITIONS
from edgekd.models import count_macs
from tests.factorize.test_svd import ONCE, factors_of

LAYERS = {
    "3x3": (lambda: nn.Conv2d(6, 8, 3, padding=1), (2, 6, 9, 11)),
    "strided, dilated": (lambda: nn.Conv2d(6, 8, (3, 1), stride=2, dilation=2, bias=False), (2, 6, 9, 11)),
    "same": (lambda: nn.Conv2d(6, 8, 5, padding="same"), (2, 6, 9, 11)),
    "reflected": (lambda: nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect"), (2, 6, 9, 11)),
    "a sequence": (lambda: nn.Conv1d(6, 8, 5, stride=2, padding=2), (2, 6, 17)),
}


def tucker_weight(rank_in: int, rank_out: int, inputs: int = 6, outputs: int = 8) -> torch.Tensor:
    """A weight of these ranks, (outputs, inputs, 3, 3)."""
    parts = torch.randn(rank_out, rank_in, 3, 3), torch.randn(inputs, rank_in), torch.randn(outputs, rank_out)
    return torch.einsum("bahw,ia,ob->oihw", *(part.double() for part in parts))


def product_of(replacement: nn.Sequential) -> np.ndarray:
    """The weight that three convolutions have together, (outputs, inputs, height, width)."""
    first, core, last = (part.weight.detach().double().numpy() for part in replacement)
    return np.einsum("ai,bahw,ob->oihw", first[..., 0, 0], core, last[..., 0, 0])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("ranks", "parts"), [((5, 7), 3), ((6, 7), 2), ((5, 8), 2), ((6, 8), 1)])
def test_a_weight_of_these_ranks_gives_the_same_outputs(name, ranks, parts):
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape)
    layer.weight.data = torch.einsum(
        "ba...,ia,ob->oi...",
        torch.randn(ranks[1], ranks[0], *layer.weight.shape[2:]),
        *(torch.randn(width, rank) for width, rank in zip((6, 8), ranks, strict=True)),
    )
    replacement, energy = factors_of(layer, ranks, "tucker")
    torch.testing.assert_close(replacement(x), layer(x), rtol=1e-4, atol=1e-3)
    assert energy == pytest.approx(1)
    assert len(replacement) == parts
    assert [part.bias is not None for part in replacement] == [*(parts - 1) * [False], layer.bias is not None]


def test_the_ranks_of_a_weight_are_found():
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, 3)
    layer.weight.data = tucker_weight(2, 4)
    assert DECOMPOSITIONS["tucker"](layer, Positions(100, 100, 100)).ranks(1e-9) == (2, 4)
    replacement, energy = factors_of(layer, (2, 4), "tucker")
    np.testing.assert_allclose(product_of(replacement), layer.weight.detach().numpy(), atol=1e-12)
    assert energy == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize("ranks", [(1, 1), (2, 3), (4, 6), (5, 2)])
def test_the_error_is_within_its_bounds(ranks):
    """No better than either side alone, and no worse than both sides' discarded energy together."""
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, 3).double()
    weight = layer.weight.detach().numpy()
    unfolded = weight.transpose(1, 0, 2, 3).reshape(6, -1), weight.reshape(8, -1)
    discarded = [
        (np.linalg.svd(matrix, compute_uv=False)[rank:] ** 2).sum()
        for matrix, rank in zip(unfolded, ranks, strict=True)
    ]
    replacement, energy = factors_of(layer, ranks, "tucker")
    error = ((weight - product_of(replacement)) ** 2).sum()
    assert max(discarded) <= error * (1 + 1e-9)
    assert error <= sum(discarded) * (1 + 1e-9)
    assert energy == pytest.approx(1 - error / (weight**2).sum())


def test_iterations_do_better_than_the_truncated_higher_order_svd():
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, 3).double()
    weight = layer.weight.detach().numpy()
    into = np.linalg.svd(weight.transpose(1, 0, 2, 3).reshape(6, -1), full_matrices=False)[0][:, :2]
    out = np.linalg.svd(weight.reshape(8, -1), full_matrices=False)[0][:, :3]
    core = np.einsum("oihw,ia,ob->bahw", weight, into, out)
    _, energy = factors_of(layer, (2, 3), "tucker")
    assert energy > (core**2).sum() / (weight**2).sum() * 1.001


@pytest.mark.parametrize(("positions", "round_to"), [((100, 100, 100), 1), ((400, 200, 100), 1), ((100, 100, 100), 4)])
@pytest.mark.parametrize("discard", [0.01, 0.1, 0.3, 0.6])
def test_the_cheapest_of_all_ranks_that_discard_no_more(discard, positions, round_to):
    torch.manual_seed(0)
    layer = nn.Conv2d(12, 18, 3).double()
    weight = layer.weight.detach().numpy()
    tails = []
    for axis, width in ((1, 12), (0, 18)):
        matrix = np.moveaxis(weight, axis, 0).reshape(width, -1)
        squares = np.append(np.linalg.svd(matrix, compute_uv=False) ** 2, 0)
        tails.append(squares[::-1].cumsum()[::-1] / squares.sum())
    costs = [
        (rank_in < 12) * 12 * rank_in * positions[0]
        + (9 * rank_in * rank_out + (rank_out < 18) * rank_out * 18) * positions[2]
        for rank_in in {*range(round_to, 12, round_to), 12}
        for rank_out in {*range(round_to, 18, round_to), 18}
        if tails[0][rank_in] + tails[1][rank_out] <= discard
    ]
    way = DECOMPOSITIONS["tucker"](layer, Positions(*positions), round_to)
    ranks = way.ranks(discard)
    assert way.macs(ranks) == min(costs)
    assert way.factors(ranks).energy >= 1 - discard


def test_a_core_has_no_more_rows_than_columns():
    """From 1 channel in 9 taps there are 9 independent filters."""
    torch.manual_seed(0)
    assert DECOMPOSITIONS["tucker"](nn.Conv2d(1, 64, 3), ONCE).ranks(0.0)[1] == 9


def test_multiply_accumulates_are_those_of_the_layers():
    layer = nn.Conv2d(6, 8, 3, stride=2, padding=1)
    way = DECOMPOSITIONS["tucker"](layer, Positions(99, 55, 30))
    for ranks, expected in (
        ((2, 3), 6 * 2 * 99 + 9 * 2 * 3 * 30 + 3 * 8 * 30),
        ((6, 3), 9 * 6 * 3 * 30 + 3 * 8 * 30),
        ((2, 8), 6 * 2 * 99 + 9 * 2 * 8 * 30),
    ):
        assert way.macs(ranks) == expected
        assert count_macs(factors_of(layer, ranks, "tucker")[0], (6, 9, 11)) == expected
