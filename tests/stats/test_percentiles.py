import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from edgekd.errors import MeasurementError
from edgekd.stats.percentiles import percentile, percentile_interval, relative_spread
from edgekd.stats.proportion import wilson_interval
from edgekd.stats.ratios import ratio_of_medians, ratio_over_launches, stretched, widened

times = st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=300)
fractions = st.floats(0.001, 0.999)


@pytest.mark.parametrize(("p", "expected"), [(0.05, 15), (0.3, 20), (0.4, 20), (0.5, 35), (0.90, 50), (0.99, 50)])
def test_nearest_rank_by_hand(p, expected):
    assert percentile([50, 15, 40, 20, 35], p) == expected


@given(times, fractions)
def test_percentile_is_numpys_inverted_cdf(samples, p):
    assert percentile(samples, p) == np.percentile(samples, 100 * p, method="inverted_cdf")


def test_rank_survives_binary_fractions():
    assert percentile(range(1, 101), 0.07) == 7


@given(times, fractions, fractions)
def test_percentiles_are_monotone(samples, p, q):
    low, high = sorted((p, q))
    assert min(samples) <= percentile(samples, low) <= percentile(samples, high) <= max(samples)


@given(times, fractions)
def test_interval_holds_the_percentile(samples, p):
    interval = percentile_interval(samples, p)
    assert interval is None or interval[0] <= percentile(samples, p) <= interval[1]


@pytest.mark.parametrize(("n", "p"), [(6, 0.5), (101, 0.5), (50, 0.9), (500, 0.99), (5000, 0.5)])
def test_interval_is_the_narrowest_with_its_tails(n, p):
    low, high = percentile_interval(np.arange(1, n + 1), p)
    tails = scipy.stats.binom(n, p)
    assert tails.cdf(low - 1) <= 0.025 < tails.cdf(low)
    assert tails.sf(high - 1) <= 0.025 < tails.sf(high - 2)


@pytest.mark.parametrize("n", [8, 60, 301])
def test_median_interval_is_scipys_quantile_test(n):
    samples = np.random.default_rng(n).exponential(size=n)
    theirs = scipy.stats.quantile_test(samples, q=0, p=0.5).confidence_interval(0.95)
    np.testing.assert_allclose(percentile_interval(samples, 0.5), (theirs.low, theirs.high))


@pytest.mark.parametrize(("p", "needed"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_too_few_samples_have_no_interval(p, needed):
    assert percentile_interval(np.arange(needed - 1), p) is None
    assert percentile_interval(np.arange(needed), p) is not None


@pytest.mark.parametrize(("p", "n"), [(0.5, 50), (0.9, 200), (0.95, 300), (0.99, 800)])
def test_interval_covers_as_often_as_it_says(p, n):
    draws = np.random.default_rng(1).lognormal(size=(1500, n))
    truth = scipy.stats.lognorm(1).ppf(p)
    intervals = [percentile_interval(row, p) for row in draws]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.945 <= covered <= 0.99


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(case):
    theirs = scipy.stats.binomtest(*case).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(*case), (theirs.low, theirs.high), atol=1e-12)


def slowed_rounds(seed: int, factor: float, rounds: int = 60) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pairs of blocks of a machine whose speed wanders by half between rounds."""
    random = np.random.default_rng(seed)
    speed = random.lognormal(sigma=0.4, size=rounds)
    return tuple([typical * now * random.lognormal(sigma=0.05, size=20) for now in speed] for typical in (factor, 1.0))


def test_ratio_interval_covers_as_often_as_it_says():
    intervals = [ratio_of_medians(*slowed_rounds(seed, 1.2), seed=seed)[1] for seed in range(200)]
    covered = np.mean([low <= 1.2 <= high for low, high in intervals])
    assert 0.9 <= covered <= 1
    assert max(high - low for low, high in intervals) < 0.03


def launches(random: np.random.Generator, factor: float, count: int = 8, rounds: int = 12):
    """Launches that differ by 0.5 % in how both were loaded, on a machine with fits of a third."""
    loaded = random.normal(scale=0.005, size=count)
    noise = 0.01 * random.standard_t(3, (count, rounds)) + random.choice([0, 0, 0, 0.3, -0.3], (count, rounds))
    ones = np.ones((count, rounds, 1))
    return list(ones * factor * np.exp(loaded[:, None, None] + noise[:, :, None])), list(ones)


def test_interval_over_launches_covers_what_rounds_alone_do_not():
    random = np.random.default_rng(5)
    over_launches, over_rounds = [], []
    for seed in range(100):
        a, b = launches(random, 1.2)
        over_launches.append(ratio_over_launches(a, b, seed)[1])
        over_rounds.append(ratio_of_medians(np.concatenate(a), np.concatenate(b), seed)[1])
    assert np.mean([low <= 1.2 <= high for low, high in over_launches]) >= 0.94
    assert np.median([high - low for low, high in over_launches]) < 0.03
    same_layout = np.mean([low <= 1.2 <= high for low, high in over_rounds])
    assert same_layout < 0.94, "the loadings' difference is real in this simulation"


def test_ratio_over_launches_by_hand():
    blocks = [[[2.0], [2.2]], [[2.4], [2.6]]] * 3
    ones = [[[1.0], [1.0]]] * 6
    ratio, (low, high) = ratio_over_launches(blocks, ones)
    assert ratio == pytest.approx(np.sqrt(2.2 * 2.4))
    assert 2.0 <= low < ratio < high <= 2.6
    inverse, (its_low, its_high) = ratio_over_launches(ones, blocks)
    np.testing.assert_allclose([inverse, its_low, its_high], [1 / ratio, 1 / high, 1 / low], rtol=0.01)


def test_launches_may_differ_in_length():
    a = [[np.array([3.0])] * rounds for rounds in (3, 7, 5, 1, 2, 9)]
    b = [[np.array([1.5])] * rounds for rounds in (3, 7, 5, 1, 2, 9)]
    np.testing.assert_allclose(np.hstack(ratio_over_launches(a, b)), [2, 2, 2])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_launches_have_a_ratio_and_no_interval(count):
    a, b = launches(np.random.default_rng(0), 1.2, count)
    ratio, interval = ratio_over_launches(a, b)
    assert ratio == pytest.approx(1.2, abs=0.05)
    assert interval is None


def test_sureness_stretches_as_students_t():
    low, high = stretched(2.0, (1.0, 4.0), 6, 0.99)
    by = scipy.stats.t.ppf(0.995, 5) / scipy.stats.t.ppf(0.975, 5)
    np.testing.assert_allclose([low, high], [2 / 2**by, 2 * 2**by])
    np.testing.assert_allclose(stretched(2.0, (1.0, 4.0), 6, 0.95), (1.0, 4.0))


def test_what_launches_cannot_show_widens_as_variances_add():
    by = scipy.stats.norm.ppf(0.975) * 0.04
    low, high = widened(2.0, (2 / 1.03, 2 * 1.06), 0.04)
    expected = [np.hypot(np.log(1.03), by), np.hypot(np.log(1.06), by)]
    np.testing.assert_allclose([np.log(2 / low), np.log(high / 2)], expected)
    np.testing.assert_allclose(widened(2.0, (1.9, 2.1), 0.0), (1.9, 2.1))


def test_sittings_that_differ_are_covered_where_launches_alone_are_not():
    random = np.random.default_rng(11)
    alone, with_sittings = [], []
    for seed in range(150):
        a, b = launches(random, 1.2 * np.exp(random.normal(scale=0.01)))
        ratio, interval = ratio_over_launches(a, b, seed)
        alone.append(interval)
        with_sittings.append(widened(ratio, interval, 0.01))
    shares = [np.mean([low <= 1.2 <= high for low, high in each]) for each in (alone, with_sittings)]
    assert shares[0] < 0.85
    assert shares[1] >= 0.93


def test_ratio_of_swapped_candidates_is_the_inverse():
    a, b = slowed_rounds(0, 1.7)
    ratio, (low, high) = ratio_of_medians(a, b, seed=3)
    inverse, (its_low, its_high) = ratio_of_medians(b, a, seed=3)
    np.testing.assert_allclose([inverse, its_low, its_high], [1 / ratio, 1 / high, 1 / low])


def test_same_seed_same_interval():
    a, b = slowed_rounds(0, 1.7)
    assert ratio_of_medians(a, b, seed=5) == ratio_of_medians(a, b, seed=5)


def test_relative_spread_ignores_a_hiccup():
    assert relative_spread([10.0] * 99 + [1e9]) == 0
    assert relative_spread([8, 9, 10, 11]) == pytest.approx(2 / 9)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: percentile([], 0.5),
        lambda: percentile([1.0], 99),
        lambda: percentile_interval([1.0], 0),
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(0, 0),
        lambda: ratio_of_medians([[1]], [[1]]),
        lambda: ratio_of_medians([[1], [1]], [[1]]),
        lambda: ratio_over_launches([], []),
        lambda: ratio_over_launches([[[1]], [[1]]], [[[1]]]),
        lambda: ratio_over_launches([[[1]], [[1]]], [[[1]], [[1], [1]]]),
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(MeasurementError):
        wrong()
