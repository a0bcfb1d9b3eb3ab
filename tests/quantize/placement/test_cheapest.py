from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.quantize.placement.segments import Costs, cheapest

TIMES = st.integers(0, 1000).map(float)


def spent(costs: Costs, in_float: tuple[bool, ...]) -> float:
    """Milliseconds of an assignment, added up as one would by hand; the network's input is float."""
    own = sum(costs.float32[index] if is_float else costs.int8[index] for index, is_float in enumerate(in_float))
    turns = (index for index in range(1, len(in_float)) if in_float[index] != in_float[index - 1])
    return own + sum(costs.change[index - 1] for index in turns)


@given(st.lists(st.tuples(TIMES, TIMES, TIMES), min_size=1, max_size=9))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_assignment_is_cheaper(rows):
    costs = Costs(*map(list, zip(*rows, strict=True)))
    found = tuple(cheapest(costs))
    assert len(found) == len(rows)
    assert spent(costs, found) == min(spent(costs, each) for each in product((False, True), repeat=len(rows)))


@pytest.mark.parametrize(
    ("price", "expected"),
    [(0.0, [False, True, False]), (0.4, [False, True, False]), (0.6, [False, False, False])],
)
def test_an_island_is_worth_it_or_is_not(price, expected):
    """The second segment is a millisecond faster in float; there and back costs two changes."""
    assert cheapest(Costs([1, 3, 1], [3, 2, 3], [price] * 3)) == expected


def test_ties_stay_in_int8():
    assert cheapest(Costs([1, 1], [1, 1], [0, 0])) == [False, False]


def test_nothing_to_place():
    assert cheapest(Costs([], [], [])) == []
