import numpy as np
import pytest
from scipy import optimize, stats

from edgekd.errors import EdgekdError
from edgekd.stats.paired import drop, drop_interval


def answers(n, lost, won, both=0):
    before, after = np.zeros(n, bool), np.zeros(n, bool)
    before[:lost] = True
    after[lost : lost + won] = True
    before[lost + won : lost + won + both] = after[lost + won : lost + won + both] = True
    return before, after


@pytest.mark.parametrize(("lost", "won"), [(30, 0), (41, 9), (120, 90), (0, 12), (7, 7), (1, 0)])
def test_bounds_are_clopper_and_pearsons_of_the_samples_that_differ(lost, won):
    n = 2000
    found = drop(*answers(n, lost, won, both=1500))
    exact = stats.binomtest(lost, lost + won, alternative="greater")
    low = exact.proportion_ci(0.95, method="exact").low
    high = stats.binomtest(lost, lost + won, alternative="less").proportion_ci(0.95, method="exact").high
    assert found.value == pytest.approx((lost - won) / n)
    assert found.p == pytest.approx(exact.pvalue, rel=1e-9)
    assert found.at_least == pytest.approx((lost + won) * (2 * low - 1) / n, abs=1e-12)
    assert found.at_most == pytest.approx((lost + won) * (2 * high - 1) / n, abs=1e-12)


def test_the_bound_is_above_zero_just_where_the_exact_test_finds_a_loss():
    for lost in range(40):
        found = drop(*answers(500, lost, 10))
        assert (found.at_least > 0) == (found.p < 0.05)


def test_the_same_answers_lose_nothing():
    same = np.arange(100) % 3 > 0
    found = drop(same, same)
    assert (found.value, found.at_least, found.at_most, found.p) == (0, 0, 0, 1)


def test_the_bound_holds_as_often_as_it_says():
    random, rate, truth, trials = np.random.default_rng(0), 0.06, 0.01, 1500
    held = 0
    for _ in range(trials):
        lost, won, _ = random.multinomial(2000, [(rate + truth) / 2, (rate - truth) / 2, 1 - rate])
        held += drop(*answers(2000, lost, won)).at_least <= truth
    assert held / trials >= 0.95 - 2 * (0.95 * 0.05 / trials) ** 0.5


def test_ten_thousand_samples_that_all_differ_are_counted():
    found = drop(*answers(10_000, 5200, 4800))
    assert found.p == pytest.approx(stats.binomtest(5200, 10_000, alternative="greater").pvalue, rel=1e-6)


def test_other_samples_are_refused():
    with pytest.raises(EdgekdError, match="in pairs: give those of one test set"):
        drop(np.ones(3, bool), np.ones(4, bool))


@pytest.mark.parametrize(("lost", "won", "n"), [(12, 2, 50), (1, 0, 44), (5, 9, 100), (3, 0, 360)])
def test_the_score_interval_is_that_of_the_constrained_likelihood(lost, won, n):
    """By optimisation, where the module has a closed form (Tango 1998, equation 6)."""

    def score(difference):
        def surprise(share_won):
            shares = [share_won + difference, share_won, 1 - 2 * share_won - difference]
            return -stats.multinomial.logpmf([lost, won, n - lost - won], n, shares)

        ends = (max(0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12)
        found = optimize.minimize_scalar(surprise, bounds=ends, method="bounded", options={"xatol": 1e-11}).x
        return (lost - won - n * difference) / (n * (2 * found + difference - difference**2)) ** 0.5

    low, high = drop_interval(lost, won, n)
    assert (score(low), score(high)) == pytest.approx((1.959964, -1.959964), abs=1e-3)


@pytest.mark.parametrize(("n", "shares"), [(20, (0.05, 0.05)), (20, (0.1, 0.02)), (50, (0.02, 0.02))])
def test_the_score_interval_holds_the_truth_as_often_as_it_says(n, shares):
    covered = 0.0
    for lost in range(n // 2):
        for won in range(n // 2):
            share = stats.multinomial.pmf([lost, won, n - lost - won], n, [*shares, 1 - sum(shares)])
            low, high = drop_interval(lost, won, n) if share > 1e-7 else (1, -1)
            covered += share * (low <= shares[0] - shares[1] <= high)
    assert covered >= 0.945


def test_few_samples_without_a_difference_tell_little():
    assert drop_interval(0, 0, 20) == pytest.approx((-0.1611, 0.1611), abs=1e-4)
    assert drop_interval(0, 0, 10_000)[1] < 0.0005
