"""Schedules of values that change during training."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from edgekd.errors import TrainingError
from edgekd.ranges import SHARE_OR_ALL, Range

Form = Literal["linear", "cosine", "step"]


@dataclass(frozen=True)
class Schedule:
    """A value that goes from ``start`` to ``end``, and stays there from ``until`` on.

    ``linear`` from 0 with a small ``until`` is a warm-up; ``step`` is ``start`` before ``until``.

    Args:
        form: ``linear``, ``cosine`` (half a period, slow at both ends) or ``step``.
        until: a share of the training, in (0, 1].

    Raises:
        TrainingError: there is no such form, or ``until`` is out of range.
    """

    form: Form
    start: float
    end: float
    until: float = 1.0

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise TrainingError(f"unknown schedule {self.form!r}: give one of {', '.join(get_args(Form))}")
        SHARE_OR_ALL.check(TrainingError, until=self.until)
        Range().check(TrainingError, start=self.start, end=self.end)

    def __call__(self, progress: float) -> float:
        """Return the value at ``progress``, the share of the training that is done, in [0, 1]."""
        if progress >= self.until:
            return self.end
        if self.form == "step":
            return self.start
        share = progress / self.until
        if self.form == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.start + share * (self.end - self.start)


def value_at(value: float | Schedule, progress: float) -> float:
    """Return the value of a schedule at ``progress``, or a constant itself."""
    return value(progress) if isinstance(value, Schedule) else value
