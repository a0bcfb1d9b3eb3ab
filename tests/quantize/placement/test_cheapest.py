from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.quantize.placement.cheapest import Costs, cheapest
from edgekd.quantize.placement.regions import Boundary

TIMES = st.integers(0, 1000).map(float)


def spent(boundaries: list[Boundary], costs: Costs, in_float: tuple[bool, ...]) -> float:
    """Milliseconds of an assignment, added up as one would by hand."""
    own = sum(costs.float32[index] if is_float else costs.int8[index] for index, is_float in enumerate(in_float))
    turns = (
        change
        for boundary, change in zip(boundaries, costs.change, strict=True)
        if any(in_float[reader] != in_float[boundary.maker] for reader in boundary.readers)
    )
    return own + sum(turns)


def chain(count: int) -> list[Boundary]:
    return [Boundary(index - 1, (index,), 1) for index in range(1, count)]


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Boundary], Costs]:
    """Up to eight regions, each of which but the last may be read by any later ones, several times."""
    count = draw(st.integers(1, 8))
    boundaries = [
        Boundary(maker, tuple(sorted(found)), 1)
        for maker in range(count - 1)
        for found in draw(st.lists(st.sets(st.integers(maker + 1, count - 1), min_size=1), max_size=2))
    ]
    times = (draw(st.lists(TIMES, min_size=size, max_size=size)) for size in (count, count, len(boundaries)))
    return boundaries, Costs(*times)


@given(networks())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_assignment_is_cheaper_and_none_as_cheap_has_fewer_in_float(network):
    boundaries, costs = network
    found = tuple(cheapest(boundaries, costs))
    assert len(found) == len(costs.int8)
    every = list(product((False, True), repeat=len(found)))
    least = min(spent(boundaries, costs, each) for each in every)
    assert spent(boundaries, costs, found) == least
    assert sum(found) == min(sum(each) for each in every if spent(boundaries, costs, each) == least)


@pytest.mark.parametrize(
    ("price", "expected"),
    [(0.0, [False, True, False]), (0.4, [False, True, False]), (0.6, [False, False, False])],
)
def test_an_island_is_worth_it_or_is_not(price, expected):
    """The second region is a millisecond faster in float; there and back costs two changes."""
    assert cheapest(chain(3), Costs([1, 3, 1], [3, 2, 3], [price] * 2)) == expected


@pytest.mark.parametrize(("price", "expected"), [(1.9, [False, True, True]), (2.1, [False, False, False])])
def test_what_several_read_is_converted_once(price, expected):
    """Two heads are each a millisecond faster in float."""
    assert cheapest([Boundary(0, (1, 2), 1)], Costs([1, 3, 3], [9, 2, 2], [price])) == expected


def test_times_of_any_size():
    for unit in (1e-9, 1.0, 1e9):
        times = ([3 * unit, unit], [2 * unit, 2 * unit], [0.5 * unit])
        assert cheapest(chain(2), Costs(*times)) == [True, False]


def test_ties_stay_in_int8():
    assert cheapest(chain(2), Costs([1, 1], [1, 1], [0])) == [False, False]


def test_nothing_to_place():
    assert cheapest([], Costs([], [], [])) == []
