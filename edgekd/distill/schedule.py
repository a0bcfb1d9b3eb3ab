"""Schedules of values that change during training."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from edgekd.errors import TrainingError
from edgekd.ranges import SHARE_OR_ALL, Range
from edgekd.registry import Registry

# The share of the way that is gone at each share of the time, below 1.
FORMS: Registry[Callable[[float], float]] = Registry("form of a schedule", TrainingError)


@FORMS.register("linear")
def linear(share: float) -> float:
    return share


@FORMS.register("cosine")
def cosine(share: float) -> float:
    """Go along half a period of a cosine, slow at both ends."""
    return (1 - math.cos(math.pi * share)) / 2


@FORMS.register("step")
def step(share: float) -> float:
    """Stay at the start up to the end."""
    return 0.0


@dataclass(frozen=True)
class Schedule:
    """A value that goes from ``start`` to ``end``, and stays there from ``until`` on.

    ``linear`` from 0 with a small ``until`` is a warm-up; ``step`` is ``start`` before ``until``.

    Args:
        form: an entry of ``FORMS``.
        until: a share of the training, in (0, 1].

    Raises:
        TrainingError: there is no such form, or ``until`` is out of range.
    """

    form: str
    start: float
    end: float
    until: float = 1.0

    def __post_init__(self) -> None:
        FORMS.find(self.form)
        SHARE_OR_ALL.check(TrainingError, until=self.until)
        Range().check(TrainingError, start=self.start, end=self.end)

    def __call__(self, progress: float) -> float:
        """Return the value at ``progress``, the share of the training that is done, in [0, 1]."""
        if progress >= self.until:
            return self.end
        return self.start + FORMS[self.form](progress / self.until) * (self.end - self.start)


def value_at(value: float | Schedule, progress: float) -> float:
    """Return the value of a schedule at ``progress``, or a constant itself."""
    return value(progress) if isinstance(value, Schedule) else value
