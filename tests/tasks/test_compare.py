from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from edgekd.errors import EdgekdError, MeasurementError
from edgekd.stats.paired import drop, drop_interval
from edgekd.stats.proportion import wilson_interval
from edgekd.tasks.compare import compare, interval
from edgekd.tasks.detection.evidence import BoxPrecision
from edgekd.tasks.metric import Correct, Evidence, Metric
from edgekd.tasks.regression.evidence import AbsoluteErrors

ACCURACY = Metric("accuracy", "accuracy", "%", "higher", "mcnemar", Correct, lambda: Correct)
ERROR = Metric("mae", "mean absolute error", "mm", "lower", "bootstrap", Correct, lambda: Correct)
SHARE = Metric("share", "share", "%", "higher", "bootstrap", Correct, lambda: Correct)


@dataclass(frozen=True, eq=False)
class MeanError(Evidence):
    errors: np.ndarray

    def values(self, weights):
        return weights @ self.errors / weights.sum(1)


def right_or_wrong(n, lost, won):
    before, after = np.zeros((2, n), bool)
    before[:lost] = after[lost : lost + won] = True
    before[n // 2 :] = after[n // 2 :] = True
    return Correct(before), Correct(after)


def test_right_or_wrong_as_the_paired_tests_have_it():
    before, after = right_or_wrong(400, 30, 11)
    found, expected = compare(ACCURACY, before, after, 0.99), drop(before.correct, after.correct, 0.99)
    assert (found.drop, found.lower, found.upper, found.p) == (
        *(expected.value, expected.at_least, expected.at_most, expected.p),
    )
    assert (found.lost, found.won, found.n) == (30, 11, 400)
    assert found.interval == drop_interval(30, 11, 400, 0.99)
    assert (found.before, found.after) == (230 / 400, 211 / 400)


def test_what_is_worse_where_less_is_better():
    random = np.random.default_rng(0)
    errors = random.exponential(size=300)
    more = errors + random.normal(0.1, 0.2, size=300)
    found = compare(ERROR, MeanError(errors), MeanError(more))
    apart = more - errors
    reach = stats.t.ppf(0.95, 299) * apart.std(ddof=1) / 300**0.5
    assert found.drop == pytest.approx(apart.mean())
    assert (found.lower, found.upper) == pytest.approx((apart.mean() - reach, apart.mean() + reach), abs=0.15 * reach)
    assert found.interval[0] < found.lower < found.drop < found.upper < found.interval[1]
    assert found.is_worse and not found.is_better
    back = compare(ERROR, MeanError(more), MeanError(errors))
    assert back.drop == -found.drop and back.is_better and back.p > 0.99


@pytest.mark.parametrize("lost", [3, 4, 5, 9])
def test_few_samples_that_differ_are_judged_as_mcnemar_does(lost):
    """Where three samples were lost and none won, 95.02 % of bootstrap draws hold one of them."""
    before, after = right_or_wrong(400, lost, 0)
    exact, resampled = compare(ACCURACY, before, after), compare(SHARE, before, after)
    assert resampled.p == pytest.approx(exact.p, abs=0.02)
    assert resampled.is_worse == exact.is_worse == (lost >= 5)
    assert (resampled.lost, resampled.won) == (None, None)


def test_three_samples_that_lose_alike_show_no_drop():
    found = compare(ERROR, MeanError(np.zeros(3)), MeanError(np.ones(3)))
    assert found.drop == found.upper == found.interval[1] == 1
    assert found.p == pytest.approx(1 / 8, abs=4 * (7 / 64 / 2000) ** 0.5)
    assert found.lower == found.interval[0] == 0


def test_the_same_predictions():
    same, _ = right_or_wrong(100, 5, 3)
    found = compare(SHARE, same, same)
    assert (found.drop, found.lower, found.upper, found.interval, found.p) == (0, 0, 0, (0, 0), 1)
    assert not found.is_worse and not found.is_better


def test_networks_of_one_quality_are_seldom_told_apart():
    random, trials, n = np.random.default_rng(0), 60, 80
    alarms = 0
    for _ in range(trials):
        errors = random.exponential(size=(2, n))
        alarms += compare(ERROR, MeanError(errors[0]), MeanError(errors[1])).is_worse
    assert alarms <= stats.binom.ppf(0.999, trials, 0.05)


def test_high_confidence_takes_more_draws():
    before, after = right_or_wrong(400, 40, 0)
    assert compare(SHARE, before, after, 0.9995).is_worse
    assert not compare(SHARE, *right_or_wrong(400, 10, 0), 0.9995).is_worse


def test_no_number_is_refused():
    with pytest.raises(EdgekdError, match="mae is no number for one of the two networks"):
        compare(ERROR, MeanError(np.ones(3)), MeanError(np.array([1, np.nan, 1])))


def test_other_samples_are_refused():
    with pytest.raises(EdgekdError, match="accuracy of 3 and of 4 samples cannot be compared in pairs: give both"):
        compare(ACCURACY, Correct([True] * 3), Correct([True] * 4))
    with pytest.raises(EdgekdError, match="must say which samples are right"):
        compare(ACCURACY, MeanError(np.ones(3)), MeanError(np.ones(3)))


def test_the_interval_of_a_share_is_wilsons():
    evidence, _ = right_or_wrong(400, 30, 11)
    assert interval(ACCURACY, evidence, 0.9) == wilson_interval(230, 400, 0.9)
    with pytest.raises(MeasurementError):
        interval(ACCURACY, Correct(()))


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_of_a_mean_is_students(confidence):
    errors = np.random.default_rng(0).exponential(size=300)
    reach = stats.t.ppf((1 + confidence) / 2, 299) * errors.std(ddof=1) / 300**0.5
    found = interval(ERROR, MeanError(errors), confidence)
    assert found == pytest.approx((errors.mean() - reach, errors.mean() + reach), abs=0.15 * reach)
    assert found == interval(ERROR, MeanError(errors), confidence), "the same draws"
    assert found != interval(ERROR, MeanError(errors), confidence, seed=1)


@dataclass(frozen=True, eq=False)
class Largest(MeanError):
    """On draws it is never more than on all samples, and mostly less."""

    def values(self, weights):
        return np.where(weights > 0, self.errors, 0).max(1) - (weights != 1).any(1)


def test_an_interval_holds_the_metric():
    evidence = Largest(np.arange(10.0))
    low, high = interval(ERROR, evidence)
    assert low < 8 and high == evidence.value() == 9


def test_samples_that_are_all_alike_leave_room_for_others():
    perfect, none, half = (MeanError(np.full(100, value)) for value in (1.0, 0.0, 0.5))
    z = stats.norm.ppf(0.975)
    assert interval(SHARE, perfect) == pytest.approx((1 / (1 + z**2 / 100), 1.0))
    assert interval(SHARE, none) == pytest.approx((0.0, z**2 / 100 / (1 + z**2 / 100)))
    assert interval(SHARE, half) == wilson_interval(50, 100)
    assert interval(ERROR, half) == (0.5, 0.5), "an error has no scale that would say how far others may lie"


def test_a_metric_that_is_no_number_has_no_interval():
    for errors in (np.full(3, np.nan), np.empty(0)):
        with pytest.raises(EdgekdError, match="mae is no number"):
            interval(ERROR, MeanError(errors))


def test_the_same_predictions_need_no_draws(monkeypatch):
    monkeypatch.setattr("edgekd.stats.bootstrap.bootstrap_differences", None)
    right = np.random.default_rng(0).random(50) < 0.9
    found = compare(SHARE, Correct(right), Correct(right.copy()))
    assert (found.drop, found.lower, found.upper, found.interval, found.p) == (0, 0, 0, (0, 0), 1)
    assert not found.is_worse and not found.is_better


def test_an_infinite_metric_is_refused():
    errors = np.ones(20)
    errors[3] = np.inf
    with pytest.raises(EdgekdError, match="mae is no number: look at the network's outputs"):
        interval(ERROR, MeanError(errors))
    with pytest.raises(EdgekdError, match="mae is no number for one of the two networks"):
        compare(ERROR, MeanError(np.ones(20)), MeanError(errors))


def errors_of(values: int) -> AbsoluteErrors:
    return AbsoluteErrors(np.full((5, values), values / 2), np.ones((5, values), bool))


def boxes_of(classes: int) -> BoxPrecision:
    hits = np.array([[1], [1], [0]], np.uint16)
    objects = np.ones((3, classes), np.int32)
    return BoxPrecision(np.full((3, 1), 0.5, np.float32), np.zeros((3, 1), np.int16), hits, hits * 0, objects)


@pytest.mark.parametrize("of", [errors_of, boxes_of])
def test_networks_of_other_classes_are_refused(of):
    with pytest.raises(EdgekdError, match="mae: the two networks predict other classes, labels or values"):
        compare(ERROR, of(2), of(3))
