"""Forecasts of a search's time."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.search.arm_state import ArmSpace
from edgekd.search.forecast import JOB, MOST_JOB, MOST_TRIALS, TRIALS, Forecast
from edgekd.search.goal import goal_of
from edgekd.search.opening import open_space
from edgekd.search.points import Points, arm_space
from edgekd.search.space import Space
from edgekd.search.study import TrainCandidate
from edgekd.search.study_log import StudyLog

ROOT = Path(__file__).parents[2]


def test_a_whole_search_is_not_said_to_take_less_than_its_first_candidate() -> None:
    """Take longer to find the costs than forecast, by which the whole search takes less."""
    said = Forecast(0.0, {"resnet8": (1.0, 2.0)}, 1.0).nothing_trained(2700.0, 2820.0)
    assert "the first candidate needs about 47 min, 45 were given; start again with --hours 1." in said
    assert said.endswith("The whole search takes about 47 min, up to about 47 min")


def test_a_forecast_is_the_sum_of_its_parts(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    arms = [ArmSpace("a", open=(("t", (4, 1)),)), ArmSpace("b", 0.1, 0.9, 2)]
    trainings = {"a": (10.0,), "b": (4.0, 20.0)}
    forecast = Forecast(30.0, trainings, 1.0, arms=arms)
    # Four costs; one more value in a short training, of every other arm; then one and a half long trainings of each.
    usual = 30 + 4 * JOB + 2 * (0.5 * (7 + JOB) + TRIALS * (15 + JOB)) + 6 * JOB
    most = 30 + 4 * MOST_JOB + 2 * (0.5 * (7 + MOST_JOB) + MOST_TRIALS * (15 + MOST_JOB)) + 6 * MOST_JOB
    assert forecast.seconds == pytest.approx((usual, most))
    assert forecast.sentence(1800) == (
        "forecast: about 2.3 min, up to about 5 min, for 2 kinds of students; 30 min are given"
    )
    assert forecast.sentence(60, 51.0).endswith(
        "of students, 0.85 min of which are spent; 1 min are given; it ends with the best by then, and more hours go "
        "on from there"
    )
    slow = replace(forecast, first_job=3 * MOST_JOB).seconds
    assert slow == pytest.approx((usual, most + 2 * (4 + 2 * (0.5 + MOST_TRIALS) + 6) * MOST_JOB))
    # Where costs are bounded, half of the arms are expected to be left for them.
    bounded = replace(forecast, bounded=True)
    assert bounded.seconds[0] == pytest.approx(usual - 0.5 * (7 + JOB) - TRIALS * (15 + JOB))
    log = StudyLog(tmp_path / "journal.jsonl")
    for seconds in (60.0, 10.0, 10.0):
        log.append("price", arm="a", share=1.0, figures={}, seconds=seconds)
    assert bounded.rest(log, ["b"]) == (
        "1 of 2 kinds of students is within the bounds on costs: about 1.8 min, up to about 2.8 min more"
    )
    # Each network has its own step, where it is known.
    space = open_recipe()
    measured = {"steps": 10, "teacher_step": 0.1, "student_step": 0.2, "validation": 400, "test": 400}
    points, spaces = Points(space), [arm_space(arm) for arm in space.arms]
    found = [
        Forecast.of(each, points, spaces, goal_of(space)).trainings
        for each in (measured, {**measured, "student_steps": {"resnet8": 0.05}})
    ]
    assert found[0]["resnet8"] == found[1]["teacher"] == pytest.approx((12.0, 16.0, 26.0))
    assert found[1]["resnet8"] == pytest.approx((3.0, 4.0, 6.5))


def test_a_forecast_counts_each_teacher_and_each_pass(open_recipe: Callable[..., Space]) -> None:
    space = open_recipe(
        "budget.accuracy_drop=1.0", "teacher.others=[{model: resnet8, train: {epochs: 3}}]", "distill.generations=2",
        "prune.steps=3", "prune.step_epochs=2", "prune.depth=0.9", "prune.sparse=0.001",
    )  # fmt: skip
    measured = {"steps": 10, "teacher_step": 0.1, "student_step": 0.2, "validation": 400, "test": 400}
    points, spaces = Points(space), [arm_space(arm) for arm in space.arms]
    found = Forecast.of({**measured, "other_teacher_steps": [0.3]}, points, spaces, goal_of(space))
    assert found.teacher == pytest.approx(10 * (1 * 0.1 + 3 * 0.3))
    # Eight epochs in each of two generations; five of sparse training, two after the blocks and after each of two cuts,
    # and five of recovery.
    assert found.trainings["resnet8"][-1] == pytest.approx(10 * 0.2 * (2 * 8 + 5 + 3 * 2 + 5))
    assert Forecast.of(measured, points, spaces, goal_of(space)).teacher == pytest.approx(1.0)


def test_a_forecast_counts_the_teacher_s_kept_outputs_once(open_recipe: Callable[..., Space], tmp_path: Path) -> None:
    """Count 0.15 s of a step of 0.2 s, the teacher's, in every epoch, or once for each view that is kept."""
    measured = {"steps": 10, "teacher_step": 0.5, "student_step": 0.2, "teacher_forward": 0.15}
    measured |= {"validation": 400, "test": 400}

    def forecast(*settings: str, **more: bool) -> Forecast:
        space = open_recipe("budget.accuracy_drop=1.0", "distill.epochs=8", "prune.epochs=0", *settings)
        points, spaces = Points(space), [arm_space(arm) for arm in space.arms]
        return Forecast.of({**measured, **more}, points, spaces, goal_of(space))

    live, kept, plain = forecast(), forecast("distill.views=3"), forecast("distill.views=3", augmented=False)
    assert live.trainings["resnet8"][-1] == pytest.approx(10 * 8 * 0.2)
    assert kept.trainings["resnet8"][-1] == pytest.approx(10 * 8 * 0.05)
    assert (live.outputs, kept.outputs, plain.outputs) == pytest.approx((0.0, 10 * 3 * 0.15, 10 * 0.15))
    assert forecast("distill.views=3", "distill.cache=false").trainings == live.trainings
    # They are found with the first candidate, whose time says nothing of them for the others.
    log, action = StudyLog(tmp_path / "journal.jsonl"), TrainCandidate("resnet8", 0.5, 0)
    alone = kept.trainings["resnet8"][0] + JOB
    assert kept.training(action, log) == pytest.approx(4.5 + alone)
    assert kept.least == pytest.approx(kept.teacher + 4.5 + min(levels[0] for levels in kept.trainings.values()))
    log.append("trial", arm="resnet8", level=0, figures={}, seconds=20.0)
    assert kept.training(action, log) == pytest.approx(15.5)
    log.append("trial", arm="resnet8", level=0, figures={}, seconds=14.5)
    assert kept.training(action, log) == pytest.approx(15.0)


def test_the_winner_s_run_grows_with_its_networks_and_its_test_samples(
    open_recipe: Callable[..., Space], tmp_path: Path
) -> None:
    """10,000 test and 5,000 validation samples; scoring costs half a minute, as the prices show, and a step 1.5 s."""
    space, log = open_recipe(), StudyLog(tmp_path / "journal.jsonl")
    measured = {"steps": 352, "teacher_step": 1.5, "student_step": 0.2, "validation": 5000, "test": 10_000}
    points, spaces = Points(space), [arm_space(arm) for arm in space.arms]
    for seconds in (80.0, 30.0, 30.0):
        log.append("price", arm="teacher", share=1.0, figures={}, seconds=seconds)
    forecast = Forecast.of({**measured, "batch": 128, "teacher_forward": 0.4}, points, spaces, goal_of(space))
    # The teacher and two stages, each on twice the samples: in the file, and in 40 batches of PyTorch.
    assert forecast.last_run(log) == pytest.approx(3 * 2 * (30 + 40 * 0.4))
    assert Forecast.of(measured, points, spaces, goal_of(space)).last_run(log) == pytest.approx(3 * 2 * 30)
    # Fewer test samples are no reason to expect less: the rest of a job is the same.
    few = Forecast.of({**measured, "test": 500}, points, spaces, goal_of(space))
    assert few.last_run(log) == pytest.approx(3 * 30)
    log.append("end", how="out of time", met=False, trial=1, seconds=200.0)
    assert forecast.last_run(log) == 200.0


def test_a_forecast_holds_for_the_recorded_search() -> None:
    """With the steps that the epochs in its logs took, and the teacher's own with a forward pass more."""
    steps = {"resnet8 width 32": 0.069, "resnet8 width 16": 0.053, "resnet8 width 8": 0.042}
    measured = {"steps": 11, "teacher_step": 0.103, "student_step": 0.129, "student_steps": steps, "seconds": 3.0}
    space = open_space(ROOT / "recipes/fit_digits.yaml")
    points, spaces = Points(space), [arm_space(arm) for arm in space.arms]
    forecast = Forecast.of({**measured, "validation": 144, "test": 360}, points, spaces, goal_of(space))
    usual, most = forecast.seconds
    taken = json.loads((ROOT / "benchmarks/results/fit_digits/fit.json").read_text())["seconds"]
    assert usual / 1.5 < taken < min(1.5 * usual, most)
