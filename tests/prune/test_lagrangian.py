"""Widths found by price, against all that there are."""

import itertools

import numpy as np
import pytest

from edgekd.prune.lagrangian import LagrangianAllocator, WidthChoice

WIDTHS = (8, 16, 24, 32)


class Chain:
    """Layers between groups in a row: each costs the product of the widths on its two sides."""

    def __init__(self, seed: int, groups: int):
        random = np.random.default_rng(seed)
        self.factors = random.uniform(0.5, 2.0, groups + 1)
        self.choices = []
        for _ in range(groups):
            scores = np.sort(random.exponential(size=WIDTHS[-1]))
            self.choices.append(WidthChoice(WIDTHS, [float(scores[: WIDTHS[-1] - width].sum()) for width in WIDTHS]))

    def cost(self, group: int | None, widths: tuple[int, ...]) -> float:
        sides = (3, *widths, 10)
        layers = range(len(self.factors)) if group is None else (group, group + 1)
        return sum(self.factors[layer] * sides[layer] * sides[layer + 1] for layer in layers)

    def loss(self, widths: tuple[int, ...]) -> float:
        return sum(c.losses[WIDTHS.index(width)] for c, width in zip(self.choices, widths, strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_it_is_near_the_best_of_all_choices(seed):
    chain = Chain(seed, groups=5)
    full = chain.cost(None, (32,) * 5)
    everything = list(itertools.product(WIDTHS, repeat=5))
    for share in (0.75, 0.5, 0.25):
        found = LagrangianAllocator(chain.choices, chain.cost).within(share * full)
        assert found is not None
        assert chain.cost(None, found) <= share * full
        best = min(chain.loss(widths) for widths in everything if chain.cost(None, widths) <= share * full)
        nothing, all_of_it = 0.0, chain.loss((8,) * 5)
        assert chain.loss(found) <= best + 0.05 * (all_of_it - nothing)


def test_what_costs_less_than_the_budget_is_left_alone():
    chain = Chain(0, groups=3)
    assert LagrangianAllocator(chain.choices, chain.cost).within(chain.cost(None, (32, 32, 32))) == (32, 32, 32)


def test_no_widths_for_a_budget_below_the_narrowest():
    chain = Chain(0, groups=3)
    search = LagrangianAllocator(chain.choices, chain.cost)
    least = chain.cost(None, (8, 8, 8))
    assert search.within(0.99 * least) is None
    assert search.within(least) == search.cheapest() == (8, 8, 8)


def test_a_cut_that_saves_nothing_is_not_made():
    """Below the kernel's block a narrower layer takes as long."""
    steps = {8: 16, 16: 16, 24: 32, 32: 32}

    def cost(group: int | None, widths: tuple[int, ...]) -> float:
        return float(sum(steps[width] for width in (widths if group is None else widths[group : group + 1])))

    choices = [WidthChoice(WIDTHS, [24.0, 16.0, 8.0, 0.0])] * 3
    found = LagrangianAllocator(choices, cost).within(80)
    assert found is not None
    assert sorted(found) == [16, 32, 32]
