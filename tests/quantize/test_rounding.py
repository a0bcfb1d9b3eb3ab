import numpy as np
import pytest
import torch

from edgekd.errors import ModelError
from edgekd.quantize.rounding import (
    RoundingProblem,
    RoundingSearch,
    annealed_beta,
    inverse_rectified_sigmoid,
    learn_rounding,
    rectified_sigmoid,
    rounding_regularizer,
)


def test_rectified_sigmoid():
    v = np.array([-8.0, -1.0, 0.0, 0.7, 8.0])
    expected = np.clip(1.2 / (1 + np.exp(-v)) - 0.1, 0, 1)
    np.testing.assert_allclose(rectified_sigmoid(torch.from_numpy(v)).numpy(), expected, rtol=1e-12)
    assert (expected[0], expected[2], expected[-1]) == (0, 0.5, 1)


def test_its_inverse():
    h = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(rectified_sigmoid(inverse_rectified_sigmoid(h)), h)


def test_the_regularizer_is_zero_where_rounding_is_decided():
    assert float(rounding_regularizer(torch.tensor([0.0, 1.0, 1.0]), 3.0)) == 0
    assert float(rounding_regularizer(torch.tensor([0.5]), 3.0)) == 1
    assert float(rounding_regularizer(torch.tensor([0.25, 0.5]), 2.0)) == pytest.approx((0.75 + 1) / 2)


def test_beta_goes_from_twenty_to_two():
    assert [annealed_beta(progress) for progress in (0, 0.5, 1)] == pytest.approx([20, 11, 2])


def problem(columns: torch.Tensor, weight: torch.Tensor, scale: float, highest: int = 7) -> RoundingProblem:
    """Of one group, whose target is its own float output."""
    return RoundingProblem(
        steps=weight[None] / scale,
        scale=torch.full((1, 1, 1), scale),
        lowest=-highest,
        highest=highest,
        columns=columns[None],
        targets=torch.relu(columns @ weight.T)[None],
        bias=torch.zeros(1, 1, len(weight)),
        activation=torch.relu,
    )


def correlated(positions: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Inputs that share most of what they are, as neighbouring pixels do."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(4, columns, generator=generator)
    return torch.randn(positions, 4, generator=generator) @ mixing + 0.2 * torch.randn(
        positions, columns, generator=generator
    )


@pytest.fixture
def layer() -> RoundingProblem:
    torch.manual_seed(0)
    return problem(correlated(2000, 24), torch.randn(6, 24) * 0.3, 0.12)


def test_the_error_is_numpys(layer):
    codes = layer.nearest()
    x, y = layer.columns[0].numpy(), layer.targets[0].numpy()
    np.testing.assert_array_equal(codes[0], np.clip(np.round(layer.steps[0].numpy()), -7, 7))
    outputs = np.maximum(x @ (codes[0].numpy() * 0.12).T, 0)
    assert layer.error(codes) == pytest.approx(float(np.mean((outputs - y) ** 2)), rel=1e-4)


def test_an_error_in_several_parts():
    torch.manual_seed(0)
    many = problem(correlated(9001, 3), torch.randn(2, 3) * 0.3, 0.12)
    x, y = many.columns[0].numpy(), many.targets[0].numpy()
    outputs = np.maximum(x @ (many.nearest()[0].numpy() * 0.12).T, 0)
    assert many.error(many.nearest()) == pytest.approx(float(np.mean((outputs - y) ** 2)), rel=1e-4)


def test_correlated_inputs_are_served_better_than_by_the_nearest(layer):
    codes = learn_rounding(layer, RoundingSearch(iterations=400, batch_size=256))
    assert layer.error(codes) < 0.6 * layer.error(layer.nearest())


def test_codes_are_the_next_below_or_above(layer):
    codes = learn_rounding(layer, RoundingSearch(iterations=50)).numpy()
    floor = np.floor(layer.steps.numpy())
    assert set(np.unique(codes - np.clip(floor, -7, 7))) <= {0.0, 1.0}
    assert np.abs(codes).max() <= 7


def test_it_is_in_the_best_tenth_of_all_roundings():
    """There are 2^8 for eight weights."""
    torch.manual_seed(3)
    small = problem(correlated(500, 8), torch.randn(1, 8) * 0.3, 0.2)
    floor = torch.floor(small.steps)
    every = [small.error((floor + torch.tensor([[[n >> i & 1 for i in range(8)]]])).clamp(-7, 7)) for n in range(256)]
    found = small.error(learn_rounding(small, RoundingSearch(iterations=300, batch_size=256)))
    assert sum(error < found * 0.999 for error in every) < 26
    assert found <= small.error(small.nearest()) * 1.001


def test_the_seed_decides(layer):
    same = [learn_rounding(layer, RoundingSearch(iterations=30, batch_size=8, seed=seed)) for seed in (1, 1, 2)]
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2])


def test_weights_on_the_grid_stay():
    x = correlated(100, 4)
    on_grid = problem(x, torch.tensor([[1.0, -2.0, 0.0, 3.0]]), 1.0)
    assert learn_rounding(on_grid, RoundingSearch(iterations=1)).tolist() == [[[1.0, -2.0, 0.0, 3.0]]]


@pytest.mark.parametrize(
    "name, value, what",
    [
        ("iterations", 0, "a whole number of at least 1"),
        ("batch_size", 0, "a whole number of at least 1"),
        ("learning_rate", 0.0, "a finite number above 0"),
        ("regularizer", -1.0, "a finite number above 0"),
        ("warm_up", 1.0, "a finite number of at least 0 and below 1"),
    ],
)
def test_settings_that_cannot_be(name, value, what):
    with pytest.raises(ModelError, match=f"^{name} must be {what}, got {value}$"):
        RoundingSearch(**{name: value})
