import re
from dataclasses import replace

import numpy as np
import pytest

from edgekd.records.candidate_figures import Figures
from edgekd.search.arm_state import ArmSpace, ArmState, TimeFactors, TrialRecord, time_factors
from edgekd.search.goal import LATENCY, SIZE, Goal
from edgekd.search.shared_noise import with_shared_noise
from edgekd.search.study import Finish, Price, Study, TrainCandidate
from edgekd.tasks.classification import Classification
from edgekd.tasks.regression import Regression
from tests.search.simulated import ALLOWED, EPOCHS, Simulation


def test_the_budget_is_kept_and_little_of_it_left_unused() -> None:
    kept, unused, epochs = [], [], []
    for seed in range(6):
        world = Simulation(seed, error=0.0005)
        winner = world.run().best[0]
        kept.append(world.drop(winner.arm, winner.share) <= ALLOWED)
        unused.append(world.cost(winner.arm, winner.share) / world.best() - 1)
        epochs.append(world.epochs)
    assert np.mean(kept) >= 0.9
    assert np.median(unused) <= 0.12
    # A grid of 60 shares in 4 arms trains 240 networks to their end.
    assert max(epochs) < 0.05 * 240 * EPOCHS[-1]


def test_with_noise_it_stays_on_the_safe_side() -> None:
    worlds = [Simulation(seed, error=0.003) for seed in range(6)]
    winners = [world.run().best[0] for world in worlds]
    drops = [world.drop(winner.arm, winner.share) for world, winner in zip(worlds, winners, strict=True)]
    assert np.mean(np.array(drops) <= ALLOWED) >= 0.8


def test_out_of_reach_is_said_after_few_trainings() -> None:
    world = Simulation(1, error=0.003, out_of_reach=True)
    finish = world.run()
    assert finish.unreachable and "with 0.01 allowed" in finish.unreachable
    assert finish.assurance is not None and finish.assurance < 0.5
    assert world.epochs <= 40


def test_the_same_trials_lead_to_the_same_decisions() -> None:
    first, second = Simulation(3, error=0.002), Simulation(3, error=0.002)
    assert first.run() == second.run()
    assert first.trials == second.trials


def test_bounds_on_costs_are_checked_before_any_training() -> None:
    world = Simulation(0, error=0.001, goal=Goal(LATENCY, ALLOWED, {"size_ratio": 0.001}))
    steps = []
    for _ in range(30):
        action = world.study().next()
        steps.append(action)
        if not isinstance(action, Price):
            break
        world.prices[action.arm][action.share] = world.figures(action.arm, action.share)
    # The nearest student is made all the same.
    assert isinstance(action, TrainCandidate)
    world.trials.append(TrialRecord(1, action.arm, action.share, action.level, world.figures(action.arm, action.share)))
    finish = world.study().next()
    assert isinstance(finish, Finish)
    assert finish.unreachable and finish.unreachable.startswith(
        "size_ratio: 0.001 is asked for, and the nearest student is "
    )


def figures(share: float, drop: float = 0.0) -> Figures:
    return Figures(0.9, drop, 0.002, 500, round(1e6 * share), 1_000_000, round(1000 * share), 1000)


def test_an_arm_whose_training_fails_is_left_and_the_rest_goes_on() -> None:
    goal = Goal(SIZE, ALLOWED)
    failed = TrialRecord(1, "first", 1.0, 0, error="the loss became nan")
    done = TrialRecord(2, "second", 1.0, 0, figures(0.5, -0.01))
    arms = [
        ArmState(ArmSpace("first"), goal, {1.0: figures(1.0)}, [failed]),
        ArmState(ArmSpace("second"), goal, {1.0: figures(0.5)}, [done]),
    ]
    study = Study(goal, arms)
    finish = study.next()
    assert isinstance(finish, Finish) and finish.best == [done]
    assert study.left == {"first": "its training failed: the loss became nan"}


def test_a_share_that_fails_raises_the_low_end_of_its_arm() -> None:
    """No cut below a fifth trains, and all others keep the budget."""
    goal, space = Goal(SIZE, ALLOWED), ArmSpace("only", 0.1, 0.9)
    prices, trials = dict[float, Figures | None](), list[TrialRecord]()
    while not isinstance(action := Study(goal, [ArmState(space, goal, prices, trials)]).next(), Finish):
        if isinstance(action, Price):
            prices[action.share] = figures(action.share)
        elif action.share < 0.2:
            trials.append(TrialRecord(len(trials), "only", action.share, 0, error="the loss became nan"))
        else:
            trials.append(TrialRecord(len(trials), "only", action.share, 0, figures(action.share, drop=0.0005)))
    failed = [trial.share for trial in trials if trial.error]
    first = next(number for number, trial in enumerate(trials) if trial.error)
    assert len(failed) == len(set(failed)) <= 4
    assert any(trial.figures for trial in trials[first:])
    assert 0.2 <= action.best[0].share < 0.24


def test_a_failed_share_is_passed_by_halfway_to_the_next_good_one() -> None:
    goal, space = Goal(SIZE, ALLOWED), ArmSpace("only", 0.1, 0.9, 2)
    prices: dict[float, Figures | None] = {share: figures(share) for share in (0.1, 0.9)}
    good = TrialRecord(1, "only", 0.4, 0, figures(0.4, 0.001))
    failed = TrialRecord(2, "only", 0.1, 1, error="the loss became nan")
    arm = ArmState(space, goal, prices, [good, failed])
    assert [arm.above_failed(share) for share in (0.1, 0.3)] == [0.2, 0.3]
    assert arm.failure is None
    # Nothing is larger than the largest.
    highest = TrialRecord(2, "only", 0.9, 1, error="out of memory")
    arm = ArmState(space, goal, prices, [good, highest])
    assert arm.above_failed(0.3) is None and arm.failure == "out of memory"
    # Nothing of it was trained, or three failed one after another.
    assert ArmState(space, goal, prices, [failed]).failure
    assert ArmState(space, goal, prices, [good, failed, failed, failed]).failure
    # Good ones of an arm that is left count on.
    study = Study(Goal("accuracy"), [ArmState(space, Goal("accuracy"), prices, [replace(good, level=1), highest])])
    finish = study.next()
    assert isinstance(finish, Finish) and [trial.number for trial in finish.best] == [1]


def test_a_share_whose_cut_cannot_be_made_is_not_trained() -> None:
    goal = Goal(SIZE, ALLOWED)
    prices = {0.1: figures(0.1), 0.3: None, 0.9: figures(0.9)}
    action = Study(goal, [ArmState(ArmSpace("only", 0.1, 0.9), goal, prices)]).next()
    assert action == Price("only", 0.5196)  # the root of 0.3 * 0.9


def test_open_values_are_chosen_one_dimension_after_another_beyond_their_error() -> None:
    goal, space = Goal(SIZE, ALLOWED), ArmSpace("only", levels=2, open=(("t", (4, 1)), ("m", ("kd", "at", "dkd"))))
    drops = {(4, "kd"): 0.05, (1, "kd"): 0.049, (4, "at"): 0.04, (4, "dkd"): 0.03}
    trials: list[TrialRecord] = []
    while True:
        action = Study(goal, [ArmState(space, goal, {1.0: figures(1.0)}, trials)]).next()
        assert isinstance(action, TrainCandidate)
        if action.level == 1:
            break
        drop = drops[action.choices.get("t", 4), action.choices.get("m", "kd")]  # type: ignore[index]
        trials.append(TrialRecord(len(trials), "only", 1.0, 0, figures(1.0, drop), choices=action.choices))
    # 0.1 points less are within the error of 0.2.
    assert action.choices == {"m": "dkd"}
    assert len(trials) == 4


def test_a_share_that_no_cut_reaches_is_moved_up() -> None:
    goal = Goal(SIZE, ALLOWED)
    arm = ArmState(ArmSpace("only", 0.05, 0.9), goal, {0.05: None, 0.2121: figures(0.2), 0.9: figures(0.9)})
    assert arm.to_price() == [0.103]
    assert arm.reach == (0.2121, 0.9)


def test_the_metric_is_made_best_within_the_bounds_on_costs() -> None:
    goal = Goal("accuracy", None, {"size_ratio": 0.5})
    prices = {share: figures(share) for share in (0.1, 0.3, 0.9)}
    action = Study(goal, [ArmState(ArmSpace("only", 0.1, 0.9), goal, prices)]).next()
    assert isinstance(action, Price)
    assert 0.4 < action.share <= 0.5


def test_the_metric_is_made_best_at_a_share_whose_cost_was_asked_for() -> None:
    """Sizes are a sixth larger than the line between the ends says, and jump at a share that no line knows."""
    goal, space = Goal("accuracy", None, {"size_ratio": 0.5}), ArmSpace("only", 0.1, 0.9)
    sizes = {0.1: 0.1, 0.9: 0.9}
    prices: dict[float, Figures | None] = {share: figures(size) for share, size in sizes.items()}
    asked = []
    while isinstance(action := Study(goal, [ArmState(space, goal, prices)]).next(), Price):
        asked.append(action.share)
        sizes[action.share] = 7 / 6 * action.share if action.share < 0.4 else 0.6 + action.share / 10
        prices[action.share] = figures(sizes[action.share])
    assert isinstance(action, TrainCandidate)
    assert asked[0] == pytest.approx(0.97 * 0.5, rel=0.03) and 1 < len(asked) <= 6
    # It was within, and as near to the jump as two shares that are one.
    assert action.share in asked and sizes[action.share] <= 0.97 * 0.5
    assert action.share > 0.36


def timed(share: float, drop: float = 0.0) -> Figures:
    return replace(figures(share, drop), ms=2 * share, teacher_ms=2.0)


def test_predicted_times_go_by_those_that_were_measured() -> None:
    prices: dict[float, Figures | None] = {share: timed(share) for share in (0.1, 0.4, 0.9)}
    assert vars(time_factors(prices, 0.4, 0.42, 0.88)) == pytest.approx({"ratio": 1.05, "ms": 1.1})
    # Where one of them was not measured it has the other's factor; without a prediction there is none.
    assert vars(time_factors(prices, 0.4, None, 0.88)) == pytest.approx({"ratio": 1.1, "ms": 1.1})
    assert time_factors({0.4: figures(0.4)}, 0.4, 0.42, 0.88) is None
    goal, space = Goal(LATENCY, ALLOWED, {"latency_ratio": 0.5, "latency_ms": 1.0}), ArmSpace("only", 0.1, 0.9)
    factors = {0.2: TimeFactors(1.0, 1.0), 0.8: TimeFactors(1.21, 1.44)}
    arm = ArmState(space, goal, prices, timed=factors)
    # Halfway between two factors on a line of logarithms is the root of their product; beyond them they stay.
    assert [arm.cost(share) for share in (0.1, 0.4, 0.9)] == pytest.approx([0.1, 0.4 * 1.1, 0.9 * 1.21])
    assert arm.priced[0.4].ms == pytest.approx(0.8 * 1.2)
    trial = TrialRecord(1, "only", 0.4, 0, figures(0.4))
    assert arm.excess(trial) == pytest.approx(max(0.44 / 0.5, 0.96 / 1.0))


def test_of_several_metrics_that_are_bounded_the_tightest_decides() -> None:
    """Points of mIoU, 1 allowed, and of Dice, 2 allowed; standard errors are 0.2 and 0.4 points."""
    goal = Goal(SIZE, 0.01, others={"mdice": 0.02})
    one = replace(figures(0.5, 0.004), error=0.002, others={"mdice": [0.012, 0.004]})
    # mIoU is 3 standard errors within its bound, and Dice 2.
    assert goal.drop(one) == (pytest.approx(0.01 - 2 * 0.002), 0.002)
    assert goal.drop(replace(one, others={"mdice": [0.007, 0.004]})) == (0.004, 0.002)
    assert Goal(SIZE, 0.02, metric="mdice").drop(one) == (0.012, 0.004)
    assert Goal(SIZE, 0.01).drop(one) == (0.004, 0.002)
    # Where no sample tells the two networks apart by mIoU: half of what Dice shows, as its bound is half of Dice's.
    same = replace(one, drop=0.0, error=0.0)
    for error in (0.0, 1e-18):
        assert goal.drop(replace(same, error=error)) == (pytest.approx(0.01 - 0.008 / 2), 0.002)
    assert goal.drop(replace(same, others={"mdice": [0.04, 0.004]})) == (pytest.approx(0.01 + 0.02 / 2), 0.002)
    # Of two of one size that has won which keeps both bounds, whatever is made best.
    missed = replace(one, drop=0.001, others={"mdice": [0.04, 0.004]})
    space = ArmSpace("only")
    trials = [TrialRecord(1, "only", 1.0, 0, missed), TrialRecord(2, "only", 1.0, 0, one)]
    for objective in (SIZE, "miou"):
        own = replace(goal, objective=objective)
        [best] = Study(own, [ArmState(space, own, {1.0: one}, trials)]).finish("over").best
        assert best.number == 2


def test_a_candidate_whose_measured_time_exceeds_the_bound_is_no_winner() -> None:
    goal, space = Goal(LATENCY, ALLOWED, {"latency_ratio": 0.5}), ArmSpace("only", 0.1, 0.9)
    prices: dict[float, Figures | None] = {share: timed(share) for share in (0.1, 0.3, 0.48, 0.9)}
    trials = [TrialRecord(1, "only", 0.48, 0, timed(0.48, 0.001)), TrialRecord(2, "only", 0.3, 0, timed(0.3, 0.02))]
    factors = {0.48: TimeFactors(1.1, 1.1)}
    states = [ArmState(space, goal, prices, trials, timed=each) for each in ({}, factors)]
    assert [Study(goal, [arm]).finish("over").best[0].number for arm in states] == [1, 2]
    # Where all exceed it, the nearest is the end, and the bound is said.
    whole, factors = replace(trials[0], share=1.0), {1.0: TimeFactors(1.1, 1.1)}
    study = Study(goal, [ArmState(ArmSpace("only"), goal, {1.0: timed(0.48)}, [whole], timed=factors)])
    finish = study.next()
    assert isinstance(finish, Finish) and [trial.number for trial in finish.best] == [1]
    assert finish.unreachable == "latency_ratio: 0.5 is asked for, and the nearest student is predicted at 0.528"


def test_when_the_time_is_over_a_short_training_that_keeps_the_budget_beats_a_long_one_that_does_not() -> None:
    world = Simulation(0, error=0.001)
    for arm in world.of:
        world.prices[arm] = {share: world.figures(arm, share) for share in (0.1, 0.3, 0.9)}
    first, second, *_ = world.of
    world.trials = [
        TrialRecord(1, first, 0.3, 0, world.figures(first, 0.3, drop=0.0)),
        TrialRecord(2, second, 0.3, 2, world.figures(second, 0.3, drop=0.3)),
    ]
    assert [trial.number for trial in world.study().finish("the time is over").best] == [1]
    world.trials[0] = TrialRecord(1, first, 0.3, 0, world.figures(first, 0.3, drop=0.009))
    assert [trial.number for trial in world.study().finish("the time is over").best] == [1]
    world.trials.append(TrialRecord(3, second, 0.9, 2, world.figures(second, 0.9, drop=0.0)))
    assert [trial.number for trial in world.study().finish("the time is over").best] == [3]


def test_another_value_is_tried_where_the_usual_one_fails() -> None:
    space = ArmSpace("net", levels=1, open=(("lr", (1.0, 0.01)),))
    price = Simulation(0, error=0.001).figures("arm 0", 1.0)
    goal = Goal(SIZE, ALLOWED)
    failed = TrialRecord(1, "net", 1.0, 0, error="the loss became nan")
    state = ArmState(space, goal, {1.0: price}, [failed])
    action = Study(goal, [state]).next()
    assert isinstance(action, TrainCandidate) and action.choices == {"lr": 0.01}
    works = TrialRecord(2, "net", 1.0, 0, price, choices={"lr": 0.01})
    state = ArmState(space, goal, {1.0: price}, [failed, works])
    assert state.chosen == {"lr": 0.01} and state.failure is None


def test_arms_that_come_near_to_no_budget_after_short_trainings_are_compared_by_cost_where_they_have_one_drop() -> None:
    """Students that learn from nothing have much to learn yet: the dear ones are left, not those that lag behind."""
    goal, dear = Goal(SIZE, ALLOWED), 0.011
    lagging = {"first": 0.1, "second": 0.11, "third": 0.12}
    arms = [
        ArmState(
            ArmSpace(name, 0.1, 1.0, 2),
            goal,
            {share: figures(scale * share) for share in (0.1, 1.0)},
            [TrialRecord(number, name, 0.3162, 0, figures(scale * 0.3162, drop))],
        )
        for number, (name, scale, drop) in enumerate(
            [("teacher", 1.0, dear), *((name, 0.1, drop) for name, drop in lagging.items())]
        )
    ]
    study = Study(goal, arms)
    action = study.next()
    assert study.left.keys() == {"teacher"}
    assert not isinstance(action, Finish) and action.arm in lagging


def test_a_student_that_is_the_surest_without_being_sure_is_said_to_be() -> None:
    goal = Goal(SIZE, ALLOWED)
    done = TrialRecord(1, "only", 1.0, 0, figures(0.5, 0.009))
    finish = Study(goal, [ArmState(ArmSpace("only"), goal, {1.0: figures(0.5)}, [done])]).next()
    assert isinstance(finish, Finish) and finish.best == [done]
    assert finish.assurance is not None and 0.5 < finish.assurance < 0.9
    assert finish.reason.endswith(f"none keeps it with a probability of 90%, the surest with {finish.assurance:.0%}")


def test_an_arm_is_not_left_where_a_larger_share_is_timed_to_be_the_faster() -> None:
    """The smallest share seems to take 4 % more than is allowed, and a larger one 10 % less: it takes no longer."""
    goal, space = Goal(LATENCY, ALLOWED, {"latency_ratio": 0.5}), ArmSpace("only", 0.1, 0.9)
    times = {0.1: 1.04, 0.4: 0.9, 0.9: 3.6}
    prices: dict[float, Figures | None] = {share: replace(timed(share), ms=ms) for share, ms in times.items()}
    arm = ArmState(space, goal, prices)
    # 0.97 of the bound is reached at 0.4 * (0.9 / 0.4) ** (log(0.97 / 0.9) / log(4)).
    assert arm.reach is not None and arm.reach[0] == 0.1 and 0.4 <= arm.reach[1] <= 0.418
    study = Study(goal, [arm])
    assert not isinstance(study.next(), Finish) and not study.left and study.too_much is None


@pytest.mark.parametrize("low", [0.00001, 0.00003])
def test_a_share_that_rounds_to_none_or_to_all_stays(low: float) -> None:
    assert ArmState(ArmSpace("only", low, 0.99999), Goal(SIZE, ALLOWED), {}).to_price() == [low, 0.99999]
    assert ArmState(ArmSpace("only", 0.12346, 0.9), Goal(SIZE, ALLOWED), {}).to_price() == [0.1235, 0.9]


@pytest.mark.parametrize(("drop", "is_said"), [(0.012, False), (0.03, True)])
def test_out_of_reach_is_what_is_hardly_probable_to_be_kept(drop: float, is_said: bool) -> None:
    """One standard error above the bound, of 0.2 points, others of its kind may still keep it."""
    goal = Goal(SIZE, ALLOWED)
    done = TrialRecord(1, "only", 1.0, 0, figures(0.5, drop))
    finish = Study(goal, [ArmState(ArmSpace("only"), goal, {1.0: figures(0.5)}, [done])]).next()
    assert isinstance(finish, Finish) and finish.assurance is not None
    assert (finish.assurance < 0.15) is is_said and finish.assurance < 0.5
    assert (finish.unreachable is not None) is is_said


@pytest.mark.parametrize(("drop", "goes_on"), [(0.052, True), (0.1, False)])
def test_the_largest_share_is_tried_before_a_bound_is_out_of_reach_that_samples_cannot_show(
    drop: float, goes_on: bool
) -> None:
    """Allow half a point with an error of 0.46: no drop above -0.26 points is sure to be small enough."""
    goal = Goal(SIZE, 0.005)
    prices = {share: figures(share) for share in (0.2, 0.4359, 0.95)}
    done = TrialRecord(1, "only", 0.4359, 0, replace(figures(0.4359, drop), error=0.0046))
    arm = ArmState(ArmSpace("only", 0.2, 0.95), goal, prices, [done])
    assert arm.curve(0).room(0.9) > goal.allowed
    action = Study(goal, [arm]).next()
    if goes_on:
        assert isinstance(action, TrainCandidate) and action.share == 0.95
    else:
        assert isinstance(action, Finish) and action.unreachable
    # A smaller one is not tried after it.
    largest = TrialRecord(2, "only", 0.95, 0, replace(figures(0.95, 0.01), error=0.0046))
    assert isinstance(Study(goal, [ArmState(arm.space, goal, prices, [done, largest])]).next(), Finish)


def test_what_the_best_was_chosen_from_are_all_values_and_kinds_that_were_trained_as_long() -> None:
    goal = Goal("accuracy", None, {"size_ratio": 0.6})
    space = ArmSpace("own", 1.0, 1.0, 1, (("m", ("kd", "at")),))
    own = [
        TrialRecord(1, "own", 1.0, 0, figures(0.5, 0.01)),
        TrialRecord(2, "own", 1.0, 0, figures(0.5, 0.03), choices={"m": "at"}),
        TrialRecord(3, "own", 1.0, 0, error="the loss became nan", choices={"m": "dkd"}),
    ]
    other = [
        TrialRecord(4, "other", 1.0, 0, figures(0.5, 0.02)),
        TrialRecord(5, "other", 1.0, 1, figures(0.5, 0.02)),
    ]
    arms = [
        ArmState(space, goal, {1.0: figures(0.5)}, own),
        ArmState(ArmSpace("other", levels=2), goal, {1.0: figures(0.5)}, other),
        ArmState(ArmSpace("large"), goal, {1.0: figures(0.9)}, [TrialRecord(6, "large", 1.0, 0, figures(0.9))]),
    ]
    assert [trial.number for trial in Study(goal, arms).compared_with(own[0])] == [1, 2, 5]


def test_a_metric_is_made_best_among_those_that_keep_another_s_bound_by_more_than_luck() -> None:
    """Allow 2 points of mDice: of the better mIoU 1.9 ± 0.4 go, which about every second such network exceeds."""
    goal = Goal("miou", 0.02, metric="mdice")
    drops = {"close": (0.001, 0.019), "sure": (0.003, 0.004)}
    arms = [
        ArmState(
            ArmSpace(name),
            goal,
            {1.0: figures(0.5)},
            [TrialRecord(number, name, 1.0, 0, replace(figures(0.5, miou), others={"mdice": [mdice, 0.004]}))],
        )
        for number, (name, (miou, mdice)) in enumerate(drops.items(), start=1)
    ]
    finish = Study(goal, arms).next()
    assert isinstance(finish, Finish) and [trial.arm for trial in finish.best] == ["sure"]
    # Where the bound is on what is made best, the least drop is the surest.
    alone = [replace(arm, goal=Goal("miou", 0.02)) for arm in arms]
    finish = Study(Goal("miou", 0.02), alone).next()
    assert isinstance(finish, Finish) and [trial.arm for trial in finish.best] == ["close"]


def test_values_are_chosen_by_the_metric_that_is_bounded() -> None:
    """The other value gains 4 points of mDice, which is bounded, for 0.2 points of mIoU."""
    goal = Goal(SIZE, 0.02, metric="mdice")
    space = ArmSpace("only", levels=2, open=(("t", (4, 1)),))
    one = replace(figures(1.0, 0.01), others={"mdice": [0.05, 0.004]})
    other = replace(figures(1.0, 0.012), others={"mdice": [0.01, 0.004]})
    trials = [TrialRecord(1, "only", 1.0, 0, one), TrialRecord(2, "only", 1.0, 0, other, choices={"t": 1})]
    assert ArmState(space, goal, {1.0: one}, trials).chosen == {"t": 1}
    best = Goal("miou", 0.02, metric="mdice")
    assert ArmState(space, best, {1.0: one}, trials).chosen == {}


def decided(unit: float) -> tuple[list[float], float]:
    """Return how sure four trained networks are, and which share is tried next, where ``unit`` is that of errors."""
    goal = Goal(SIZE, unit * ALLOWED, others={"rmse": unit * 2 * ALLOWED})
    drops = {0.2: (0.05, 0.04), 0.5: (0.004, 0.03), 0.7: (0.0, 0.0), 0.9: (-0.002, 0.001)}
    prices: dict[float, Figures | None] = {share: figures(share) for share in (0.1, 0.9)}
    trials = []
    for number, (share, (drop, other)) in enumerate(drops.items(), start=1):
        # No sample tells the third one and the teacher apart.
        error = 0.0 if drop == 0 else unit * 0.002
        own = replace(figures(share, unit * drop), error=error, others={"rmse": [unit * other, 1.5 * error]})
        trials.append(TrialRecord(number, "only", share, 0, own))
    [arm] = with_shared_noise([ArmState(ArmSpace("only", 0.1, 0.9), goal, prices, trials)])
    action = Study(goal, [arm]).next()
    assert isinstance(action, Price)
    return [arm.assurance(trial) for trial in trials], action.share


@pytest.mark.parametrize("unit", [1e-9, 1e6])
def test_decisions_do_not_depend_on_the_metric_s_unit(unit: float) -> None:
    """An error may be in metres or in nanometres."""
    known, share = decided(1.0)
    assert known[0] < 0.01 and known[1] < 0.2 and known[2] > 0.9 and known[3] > 0.9 and 0.5 < share < 0.7
    found = decided(unit)
    assert found[0] == pytest.approx(known, abs=1e-6) and found[1] == share


def test_what_it_takes_is_said_by_the_metric_without_exponents() -> None:
    """Of prices 1,500 may be lost, of R² 0.05: a rise of an error by 31,200 is no drop."""
    mae, _, r2 = Regression.metrics
    done = TrialRecord(1, "only", 1.0, 0, replace(figures(0.5, 31_200.0), error=412.0, others={"r2": [0.2, 0.01]}))
    said = []
    for goal in (Goal(SIZE, 1500.0, metrics=[mae, r2]), Goal(SIZE, 1500.0, others={"r2": 0.05}, metrics=[mae, r2])):
        finish = Study(goal, [ArmState(ArmSpace("only"), goal, {1.0: figures(0.5)}, [done])]).next()
        assert isinstance(finish, Finish) and finish.unreachable
        said.append(finish.unreachable)
    assert re.fullmatch(
        r"the nearest student, only, is worse than the teacher by \d{5} \(± \d+\) of mean absolute error, with 1500 "
        "allowed",
        said[0],
    )
    assert said[1] == (
        "the nearest student, only, is worse than the teacher by 31200 (± 410) of mean absolute error, with 1500 "
        "allowed; worse than the teacher by 0.2 (± 0.01) of coefficient of determination, with 0.05 allowed"
    )
    points = Goal(SIZE, 0.01, scale=100, unit="points", metrics=Classification.metrics)
    assert points.compared(0.0234, 0.00312) == "worse than the teacher by 2.34 points (± 0.31) of accuracy"
    assert points.compared(-0.005, 0.002) == "better than the teacher by 0.5 points (± 0.2) of accuracy"


def test_why_every_training_failed_is_said() -> None:
    goal = Goal(SIZE, ALLOWED)
    arms = [
        ArmState(ArmSpace(name), goal, {1.0: figures(0.5)}, [TrialRecord(number, name, 1.0, 0, error=error)])
        for number, (name, error) in enumerate({"a": "the loss became nan", "b": "out of memory"}.items(), start=1)
    ]
    finish = Study(goal, arms).next()
    assert isinstance(finish, Finish) and not finish.best
    assert finish.unreachable == "no candidate was trained to its end: the loss became nan; out of memory"


def test_a_candidate_whose_own_file_exceeds_a_bound_is_no_winner() -> None:
    """Layers of the smaller one stayed in float, so that its file is twice as large as that of an untrained network."""
    goal, space = Goal(SIZE, ALLOWED, {"size_ratio": 0.5}), ArmSpace("only", 0.1, 0.9, 2)
    prices: dict[float, Figures | None] = {share: figures(share) for share in (0.1, 0.3, 0.45, 0.9)}
    mixed = TrialRecord(1, "only", 0.3, 1, replace(figures(0.6, 0.001), macs=300))
    whole = TrialRecord(2, "only", 0.45, 1, figures(0.45, 0.001))
    # That of a short training is of tensors in float.
    short = TrialRecord(3, "only", 0.3, 0, figures(0.9, 0.001))
    arm = ArmState(space, goal, prices, [mixed, whole, short])
    assert [arm.excess(trial) for trial in (mixed, whole, short)] == pytest.approx([1.2, 0.9, 0.6])
    assert [trial.number for trial in Study(goal, [arm]).finish("over").best] == [2]
    # Of two that are within the bound, the smaller file wins.
    loose = Goal(SIZE, ALLOWED, {"size_ratio": 0.8})
    assert [trial.number for trial in Study(loose, [replace(arm, goal=loose)]).finish("over").best] == [2]


def test_quality_is_made_best_at_a_smaller_share_where_the_file_exceeds_a_bound() -> None:
    """Files of trained networks are a fifth larger than those of untrained ones."""
    goal, space = Goal("accuracy", None, {"size_ratio": 0.5}), ArmSpace("only", 0.1, 0.9)
    prices: dict[float, Figures | None] = {}
    trials: list[TrialRecord] = []
    while not isinstance(action := Study(goal, [ArmState(space, goal, prices, trials)]).next(), Finish):
        if isinstance(action, Price):
            prices[action.share] = figures(action.share)
        else:
            trials.append(TrialRecord(len(trials) + 1, "only", action.share, 0, figures(1.2 * action.share)))
    assert [trial.number for trial in action.best] == [2] and len(trials) == 2
    # Where there is no smaller one, that is why it ends.
    whole = TrialRecord(1, "only", 1.0, 0, figures(0.6))
    over = Study(goal, [ArmState(ArmSpace("only"), goal, {1.0: figures(0.45)}, [whole])]).next()
    assert isinstance(over, Finish) and list(over.best) == [whole]
    assert over.reason == "no file of a trained student is within the bounds on costs"
    # 0.485 was the largest by the prices.
    assert trials[1].share == pytest.approx(0.97 * trials[0].share / (1.2 * trials[0].share / 0.5), abs=0.001)
