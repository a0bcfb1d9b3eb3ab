from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from edgekd.stats.bootstrap import bootstrap_bounds, bootstrap_differences, randomisation_p


@dataclass
class Mean:
    """A metric whose bootstrap has a closed form."""

    samples: np.ndarray

    @property
    def n(self):
        return len(self.samples)

    def values(self, weights):
        return weights @ self.samples / weights.sum(1)


def pair(n, seed=0, shift=0.0):
    random = np.random.default_rng(seed)
    common = random.normal(size=n)
    return Mean(common + 0.1 * random.normal(size=n) + shift), Mean(common + 0.1 * random.normal(size=n))


def test_differences_have_the_standard_error_of_paired_samples():
    before, after = pair(400, shift=0.02)
    found = bootstrap_differences(before, after, draws=4000)
    apart = before.samples - after.samples
    assert found.mean() == pytest.approx(apart.mean(), abs=4 * apart.std() / 20 / 63)
    assert found.std() == pytest.approx(apart.std() / 20, rel=0.05)
    assert found.std() < 0.2 * before.samples.std() / 20, "what both have in common cancels out"


def test_draws_are_the_same_each_time_and_another_seeds_are_others():
    before, after = pair(50)
    first, again, other = (bootstrap_differences(before, after, 20, seed) for seed in (3, 3, 4))
    assert (first == again).all() and (first != other).any()


def test_draws_do_not_depend_on_how_many_are_computed_at_a_time(monkeypatch):
    before, after = pair(50)
    whole = bootstrap_differences(before, after, 37)
    monkeypatch.setattr("edgekd.stats.bootstrap.CHUNK", 210)
    np.testing.assert_allclose(bootstrap_differences(before, after, 37), whole, rtol=1e-12)


def test_draws_without_a_value_are_left_out():
    class OfTheFirst(Mean):
        def values(self, weights):
            return np.where(weights[:, 0] > 0, super().values(weights), np.nan)

    before, after = (OfTheFirst(each.samples) for each in pair(50))
    found = bootstrap_differences(before, after, 2000)
    assert len(found) == pytest.approx(2000 * (1 - 0.98**50), abs=4 * 22)
    assert not np.isnan(found).any()


def test_bounds_are_students():
    before, after = pair(12, shift=0.1)
    apart = before.samples - after.samples
    found = bootstrap_bounds(bootstrap_differences(before, after, draws=40_000), apart.mean(), 12, 0.95)
    reach = stats.t.ppf(0.95, 11) * apart.std(ddof=1) / 12**0.5
    assert found == pytest.approx((apart.mean() - reach, apart.mean() + reach), abs=0.1 * reach)


def test_the_lower_bound_holds_as_often_as_it_says():
    trials, truth = 400, 0.02
    held = 0
    for seed in range(trials):
        before, after = pair(60, seed, shift=truth)
        value = before.samples.mean() - after.samples.mean()
        held += bootstrap_bounds(bootstrap_differences(before, after, 300, seed), value, 60)[0] <= truth
    assert held / trials == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / trials) ** 0.5)


def test_bounds_hold_a_value_that_draws_miss():
    draws = np.linspace(0.01, 0.02, 101)
    low, high = bootstrap_bounds(draws, 0.015, 1000)
    assert (low, high) == pytest.approx((0.0105, 0.0195), abs=1e-5)
    assert bootstrap_bounds(draws, 0.05, 1000) == (low, 0.05)
    assert bootstrap_bounds(draws, -0.01, 1000) == (-0.01, high)


@pytest.mark.parametrize(("lost", "won"), [(8, 2), (5, 5), (1, 0), (0, 3)])
def test_of_right_and_wrong_the_p_values_are_mcnemars(lost, won):
    before, after = np.zeros(100), np.zeros(100)
    before[:lost] = after[lost : lost + won] = 1
    draws = 20_000
    found = randomisation_p(Mean(np.concatenate([before, after])), (lost - won) / 100, draws)
    exact = [stats.binomtest(lost, lost + won, alternative=alternative).pvalue for alternative in ("greater", "less")]
    assert found == pytest.approx(exact, abs=4 * 0.5 / draws**0.5)


def test_a_swap_without_a_value_counts_against_a_difference():
    class NeverSwapped(Mean):
        """No number unless all samples are of one network."""

        def values(self, weights):
            half = weights.shape[1] // 2
            mixed = weights[:, :half].any(1) & weights[:, half:].any(1)
            return np.where(mixed, np.nan, super().values(weights))

    joined = NeverSwapped(np.repeat([1.0, 0.0], 30))
    assert randomisation_p(joined, 1.0, 200) == (1.0, 1.0)


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e9])
def test_p_values_are_the_same_in_every_unit(unit):
    """Of five samples that all became worse, 1 swap of 32 is as bad: the one of none."""
    draws = 2000
    for seed in range(20):
        random = np.random.default_rng(seed)
        before = random.exponential(size=5)
        after = before + random.uniform(0.1, 1.0, 5)
        worse, better = (Mean(unit * each) for each in (after, before))
        joined, every = Mean(np.concatenate([worse.samples, better.samples])), np.ones((1, 5))
        larger, smaller = randomisation_p(joined, float((worse.values(every) - better.values(every))[0]), draws)
        assert larger == pytest.approx(1 / 32, abs=4 * (31 / 32**2 / draws) ** 0.5)
        assert smaller == 1
