"""Learning rates as pure functions of the step, so that a resumed run needs no state for them."""

import math
from collections.abc import Callable

from edgekd.errors import TrainingError
from edgekd.registry import Registry

SCHEDULES: Registry[Callable[[float], float]] = Registry("schedule", TrainingError)


@SCHEDULES.register("cosine")
def cosine(progress: float) -> float:
    """Fall from the peak to zero (Loshchilov and Hutter, "SGDR", 2017, equation 5, one cycle)."""
    return (1 + math.cos(math.pi * progress)) / 2


@SCHEDULES.register("one_cycle")
def one_cycle(progress: float, warm_up: float = 0.25) -> float:
    """Rise linearly over the first quarter, then fall as a cosine (after Smith and Topin, 2018)."""
    if progress < warm_up:
        return max(progress, 1e-3) / warm_up
    return cosine((progress - warm_up) / (1 - warm_up))


@SCHEDULES.register("constant")
def constant(progress: float) -> float:
    """Stay at the peak."""
    return 1.0


def learning_rate(schedule: str, peak: float, step: int, total: int, begin: float = 0.0) -> float:
    """Compute the rate of step ``step`` (from 0) of ``total``, which cover ``schedule`` from its share ``begin`` on."""
    return peak * SCHEDULES.find(schedule)(begin + (1 - begin) * step / max(1, total))
