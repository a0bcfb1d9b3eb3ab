"""Cuts to several shares that give one network: widths are rounded."""

from dataclasses import replace
from math import ceil

import pytest

from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmSpace, ArmState, TrialRecord
from edgekd.search.goal import SIZE, Goal
from edgekd.search.study import Finish, Price, Study

ALLOWED = 0.03


def figures(share: float, sizes: int, drop: float = 0.0) -> Figures:
    """Return those of the next larger one of so many networks."""
    part = ceil(sizes * share) / sizes
    return Figures(0.9 - drop, drop, 0.008, 500, round(1e6 * part), 1_000_000, round(1000 * part), 1000)


def test_between_two_cuts_to_one_network_all_give_it() -> None:
    prices: dict[float, Figures | None] = {
        0.05: None,
        0.1: figures(0.1, 4),
        **dict.fromkeys((0.6, 0.7), figures(0.7, 4)),
    }
    arm = ArmState(ArmSpace("only", 0.05, 0.9), Goal(SIZE, ALLOWED), prices)
    assert [arm.macs_at(share) for share in (0.05, 0.1, 0.3, 0.6, 0.65, 0.7, 0.8)] == [
        None,
        250,
        None,
        750,
        750,
        750,
        None,
    ]
    trial = TrialRecord(1, "only", 0.65, 0, figures(0.65, 4))
    assert [arm.same_network(share, trial) for share in (0.1, 0.61, 0.64, 0.7, 0.8)] == [False, True, True, True, False]
    # Where costs are not known, near shares are taken for one.
    near = TrialRecord(1, "only", 0.8, 0, figures(0.8, 4))
    assert arm.same_network(0.81, near) and not arm.same_network(0.85, near)


def test_networks_whose_layers_are_not_counted_are_not_taken_for_one() -> None:
    shares = (0.05, 0.5, 0.55, 0.9)
    prices: dict[float, Figures | None] = {share: replace(figures(share, 20), macs=0) for share in shares}
    trial = TrialRecord(1, "only", 0.5, 0, prices[0.5])
    arm = ArmState(ArmSpace("only", 0.05, 0.9), Goal(SIZE, ALLOWED), prices, [trial])
    assert not arm.same_network(0.9, trial) and not arm.same_network(0.3, trial) and arm.same_network(0.505, trial)
    assert not arm.is_probably_trained(0.3) and not arm.is_probably_trained(0.7)


@pytest.mark.parametrize(("sizes", "most"), [(1, 3), (2, 6)])
def test_one_network_is_not_priced_again_for_each_share_that_gives_it(sizes: int, most: int) -> None:
    goal, space = Goal(SIZE, ALLOWED), ArmSpace("only", 0.05, 0.95)
    prices, trials = dict[float, Figures | None](), list[TrialRecord]()
    while not isinstance(action := Study(goal, [ArmState(space, goal, prices, trials)]).next(), Finish):
        if isinstance(action, Price):
            prices[action.share] = figures(action.share, sizes)
        else:
            drop = 0.02 if action.share > 0.5 else 0.021
            trials.append(TrialRecord(len(trials), "only", action.share, 0, figures(action.share, sizes, drop)))
    assert len(trials) <= sizes
    assert len(prices) <= most
