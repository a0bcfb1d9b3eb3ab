import math

import pytest

from edgekd.distill import Schedule
from edgekd.distill.schedule import value_at
from edgekd.errors import TrainingError


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Schedule("linear", 4.0, 2.0), [4.0, 3.5, 3.0, 2.5, 2.0]),
        (Schedule("linear", 0.0, 1.0, until=0.5), [0.0, 0.5, 1.0, 1.0, 1.0]),
        (Schedule("step", 1.0, 0.0, until=0.5), [1.0, 1.0, 0.0, 0.0, 0.0]),
        (Schedule("cosine", 1.0, 0.0), [(1 + math.cos(math.pi * share)) / 2 for share in (0, 0.25, 0.5, 0.75, 1)]),
    ],
)
def test_values_over_the_training(schedule, values):
    assert [schedule(progress) for progress in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(values)


def test_a_number_stays_what_it_is():
    assert value_at(3.0, 0.7) == 3.0
    assert value_at(Schedule("linear", 0.0, 1.0), 0.7) == pytest.approx(0.7)


def test_what_is_no_schedule():
    with pytest.raises(TrainingError, match="unknown form of a schedule 'sine'.*known: cosine, linear, step"):
        Schedule("sine", 0.0, 1.0)
    for until in (0.0, 1.5):
        with pytest.raises(TrainingError, match=f"until must be a finite number above 0 and at most 1, got {until}"):
            Schedule("linear", 0.0, 1.0, until)
