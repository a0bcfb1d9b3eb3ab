import math

import pytest

from edgekd.errors import TrainingError
from edgekd.train.schedule import learning_rate


def rates(schedule: str, total: int = 100) -> list[float]:
    return [learning_rate(schedule, 0.4, step, total) for step in range(total)]


def test_constant():
    assert rates("constant") == [0.4] * 100


def test_cosine_falls_from_the_peak_to_nearly_zero():
    ours = rates("cosine")
    assert ours[0] == 0.4
    assert ours[50] == pytest.approx(0.2)
    assert ours[25] == pytest.approx(0.2 * (1 + math.sqrt(0.5)))
    assert ours[99] == pytest.approx(0.2 * (1 - math.cos(math.pi / 100)))
    assert ours == sorted(ours, reverse=True)


def test_one_cycle_rises_for_a_quarter_and_falls():
    ours = rates("one_cycle")
    assert 0 < ours[0] < 0.4 / 100
    assert ours[1:26] == pytest.approx([0.4 * step / 25 for step in range(1, 26)])
    assert max(ours) == ours[25] == 0.4
    assert ours[62] == pytest.approx(0.2 * (1 + math.cos(math.pi * 37 / 75)))
    assert ours[25:] == sorted(ours[25:], reverse=True)
    assert ours[99] < 0.001


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_the_last_quarter_alone(schedule: str):
    """Rewound: 25 steps that begin three quarters in are the last 25 of 100."""
    last = [learning_rate(schedule, 0.4, step, 25, begin=0.75) for step in range(25)]
    assert last == pytest.approx(rates(schedule)[75:])


def test_no_steps_divide_nothing():
    assert learning_rate("cosine", 0.4, 0, 0) == 0.4


def test_an_unknown_schedule():
    with pytest.raises(TrainingError) as error:
        learning_rate("cosin", 0.4, 0, 1)
    assert str(error.value) == "unknown schedule 'cosin' (did you mean 'cosine'?); known: constant, cosine, one_cycle"
