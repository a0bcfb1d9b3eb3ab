"""Every branch of the rule that placements are chosen by, on made-up times, sizes and answers."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from edgekd.quantize.placement.choice import (
    Bounds,
    MetricBound,
    PlacementCandidate,
    PlacementResult,
    choose_placement,
    significantly_worse,
)
from edgekd.tasks.classification import Classification
from edgekd.tasks.metric import Correct, Evidence, Metric

[ACCURACY] = Classification.metrics
N = 1000
SIZES = {"int8": 100, "mixed": 200, "float": 400}


def answers(wrong: int, n: int = N) -> np.ndarray:
    """The first ``wrong`` of ``n`` samples are missed: the less accurate of two misses all that the other does."""
    return np.arange(n) >= wrong


def chosen(
    ratios: dict[str, float | None], bounds: Bounds, wrong: dict[str, int] | None = None, n: int = N
) -> PlacementResult:
    candidates = [PlacementCandidate(name, (name,), ratio, None) for name, ratio in ratios.items()]
    return choose_placement(
        candidates,
        bounds,
        lambda one: SIZES[one.name],
        lambda one: Correct(answers((wrong or {})[one.name], n)),
    )


SLOW, FAST = {"int8": 1.29, "float": 1.0}, {"int8": 0.6, "float": 1.0}


def accurate(share: float | None, size_bytes: float | None = None) -> Bounds:
    return Bounds(None if share is None else MetricBound(ACCURACY, share), size_bytes)


ACCURATE = accurate(0.94)


@pytest.mark.parametrize(
    ("ratios", "wrong", "expected", "missed"),
    [
        # int8 slower: met by both, by float alone, by int8 alone, by neither
        (SLOW, {"int8": 50, "float": 50}, "float", ()),
        (SLOW, {"int8": 70, "float": 50}, "float", ()),
        (SLOW, {"int8": 59, "float": 61}, "float", ("accuracy",)),  # by a hair, which 1000 samples cannot tell
        (SLOW, {"int8": 62, "float": 61}, "float", ("accuracy",)),
        (SLOW, {"int8": 90, "float": 61}, "float", ("accuracy",)),
        # int8 faster: the same
        (FAST, {"int8": 50, "float": 50}, "int8", ()),
        (FAST, {"int8": 61, "float": 50}, "float", ()),
        (FAST, {"int8": 59, "float": 61}, "int8", ()),
        (FAST, {"int8": 62, "float": 61}, "int8", ("accuracy",)),
        (FAST, {"int8": 90, "float": 61}, "float", ("accuracy",)),
    ],
)
def test_accuracy(ratios, wrong, expected, missed):
    placed = chosen(ratios, ACCURATE, wrong)
    assert (placed.chosen, placed.missed, placed.slower_for) == (expected, missed, None)


def test_a_slower_file_where_the_float_twin_is_surely_less_accurate():
    placed = chosen(SLOW, ACCURATE, {"int8": 40, "float": 90})
    assert (placed.chosen, placed.missed, placed.slower_for) == ("int8", (), "accuracy")


@pytest.mark.parametrize(
    ("ratios", "limit", "expected", "missed", "slower_for"),
    [
        (SLOW, None, "float", (), None),
        (SLOW, 400, "float", (), None),  # the bound itself is within the bound
        (SLOW, 399, "int8", (), "size"),
        (FAST, 399, "int8", (), None),
        (SLOW, 99, "float", ("size",), None),  # kept by none, so it forces none
        (FAST, 99, "int8", ("size",), None),
        ({"int8": 1.3, "float": 1.0, "mixed": 1.1}, 399, "mixed", (), "size"),
        ({"int8": 1.3, "float": 1.0, "mixed": 0.8}, 399, "mixed", (), None),
    ],
)
def test_size(ratios, limit, expected, missed, slower_for):
    placed = chosen(ratios, Bounds(size_bytes=limit))
    assert (placed.chosen, placed.missed, placed.slower_for) == (expected, missed, slower_for)


@pytest.mark.parametrize(
    ("wrong", "expected", "missed"),
    [
        ({"int8": 50, "mixed": 61, "float": 0}, "int8", ()),  # of the small ones, the one that is accurate enough
        ({"int8": 50, "mixed": 50, "float": 0}, "mixed", ()),
        ({"int8": 70, "mixed": 69, "float": 0}, "mixed", ("accuracy",)),
        ({"int8": 70, "mixed": 99, "float": 0}, "int8", ("accuracy",)),
    ],
)
def test_both_bounds_where_the_float_twin_is_too_large(wrong, expected, missed):
    placed = chosen({"int8": 1.3, "mixed": 1.2, "float": 1.0}, accurate(0.94, 399), wrong)
    assert (placed.chosen, placed.missed, placed.slower_for) == (expected, missed, "size")


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"int8": 50, "float": 50}, "int8"),
        ({"int8": 70, "float": 50}, "float"),
        ({"int8": 70, "float": 69}, "int8"),
        ({"int8": 90, "float": 61}, "float"),
    ],
)
def test_what_cannot_be_timed_is_int8_unless_that_is_less_accurate(wrong, expected):
    assert chosen({"int8": None, "float": None}, ACCURATE, wrong).chosen == expected
    assert chosen({"int8": None, "float": None}, Bounds()).chosen == "int8"


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({"int8": 1.0, "float": 1.0, "mixed": 1.0}, "int8"),  # equal in all: the smallest
        ({"int8": 0.99, "float": 1.0, "mixed": 0.985}, "int8"),  # less than a hundredth is not worth a larger file
        ({"int8": 0.99, "float": 1.0, "mixed": 0.97}, "mixed"),
        ({"int8": 1.001, "float": 1.0, "mixed": 1.002}, "float"),
    ],
)
def test_times_that_are_nearly_equal(ratios, expected):
    assert chosen(ratios, ACCURATE, dict.fromkeys(SIZES, 50)).chosen == expected


def test_where_no_two_can_be_told_apart_the_fastest_is_written():
    """Ten samples: one that answers half as many correctly is not surely worse."""
    wrong = {"int8": 4, "mixed": 3, "float": 2}
    placed = chosen({"int8": 0.5, "mixed": 0.7, "float": 1.0}, accurate(1.0), wrong, n=10)
    assert (placed.chosen, placed.missed) == ("int8", ("accuracy",))
    assert not any(each.accepted for each in placed.candidates)


def test_no_more_is_scored_than_need_be():
    asked: list[str] = []

    def evidence(one: PlacementCandidate) -> Correct:
        asked.append(one.name)
        return Correct(answers({"int8": 70, "mixed": 50, "float": 0}[one.name]))

    candidates = [
        PlacementCandidate(name, (), ratio, None) for name, ratio in (("int8", 0.5), ("float", 1.0), ("mixed", 0.7))
    ]
    placed = choose_placement(candidates, ACCURATE, lambda one: pytest.fail("no size was asked for"), evidence)
    assert (placed.chosen, asked) == ("mixed", ["int8", "mixed"])
    assert [each.accepted for each in placed.candidates] == [False, True, True]


@pytest.mark.parametrize(("share", "n", "least"), [(0.94, 100, 94), (0.07, 100, 7), (0.945, 100, 95), (0.1, 30, 3)])
def test_the_fewest_that_keep_an_accuracy(share, n, least):
    bound = MetricBound(ACCURACY, share)  # 0.07 * 100 is a hair above 7
    assert [bound.is_kept_by(Correct(answers(n - right, n))) for right in (least - 1, least)] == [False, True]


@dataclass(frozen=True, eq=False)
class Errors(Evidence):
    errors: np.ndarray

    def values(self, weights: np.ndarray) -> np.ndarray:
        return weights @ self.errors / weights.sum(1)


def test_a_metric_of_which_less_is_better():
    """The slower float twin comes out where int8's error is above the limit; and int8 where that is noise."""
    error = Metric(
        "mae", "mean absolute error", "mm", "lower", "bootstrap", lambda found, _: Errors(found), lambda: Errors
    )
    random = np.random.default_rng(0)
    base = random.exponential(size=400)
    candidates = [PlacementCandidate(name, (), ratio, None) for name, ratio in (("int8", 0.5), ("float", 1.0))]

    def placed(limit: float, worse_by: float) -> PlacementResult:
        errors = {"int8": base + worse_by + 0.5 * random.normal(size=400), "float": base}
        return choose_placement(
            candidates, Bounds(MetricBound(error, limit)), lambda one: 0, lambda one: Errors(errors[one.name])
        )

    own = float(base.mean())
    assert (placed(own + 0.1, 0.0).chosen, placed(own + 0.1, 0.3).chosen) == ("int8", "float")
    neither = placed(own - 0.2, 0.0)
    assert (neither.chosen, neither.missed) == ("int8", ("mae",))
    assert placed(own - 0.2, 0.3).chosen == "float"


@given(st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_surely_worse_is_the_exact_test_of_mcnemar(lost, won):
    before = np.array([True] * lost + [False] * won + [True] * 5)
    after = np.array([False] * lost + [True] * won + [True] * 5)
    p = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    assert significantly_worse(ACCURACY, Correct(after), Correct(before)) == (p < 0.05)


@given(
    st.dictionaries(st.sampled_from(["int8", "mixed"]), st.floats(0.5, 1.5), min_size=2),
    st.fixed_dictionaries({name: st.integers(0, N) for name in SIZES}),
    st.one_of(st.none(), st.floats(0, 1)),
    st.one_of(st.none(), st.sampled_from([50, 150, 300, 500])),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_slower_file_comes_out_only_where_a_bound_forces_it(ratios, wrong, accuracy, size):
    placed = chosen({**ratios, "float": 1.0}, accurate(accuracy, size), wrong)
    [own] = [each for each in placed.candidates if each.name == placed.chosen]
    is_twin_too_large = size is not None and 100 <= size < 400
    if own.is_slower and not is_twin_too_large:
        assert placed.slower_for == "accuracy"
        assert significantly_worse(ACCURACY, Correct(answers(wrong["float"])), Correct(answers(wrong[own.name])))
        assert own.accepted or "size" in placed.missed
    if size is not None and size >= 100:
        assert SIZES[own.name] <= size
