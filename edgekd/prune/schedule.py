"""Schedules of iterative pruning: the share to keep after each step, as pure functions of progress."""

from collections.abc import Callable

from edgekd.errors import ModelError
from edgekd.ranges import COUNT
from edgekd.registry import Registry

SCHEDULES: Registry[Callable[[float], float]] = Registry("pruning schedule", ModelError)


@SCHEDULES.register("linear")
def linear(progress: float) -> float:
    """Cut the same amount at every step."""
    return progress


@SCHEDULES.register("cubic")
def cubic(progress: float) -> float:
    """Cut most of it early, where there is much to spare: Zhu and Gupta, "To prune, or not to prune" (2017), eq. 1."""
    return 1 - (1 - progress) ** 3


def shares(kind: str, final: float, steps: int) -> tuple[float, ...]:
    """Compute the share of the network to keep after each of ``steps`` cuts; before the first it is 1.

    >>> shares("cubic", 0.2, 2)
    (0.30000000000000004, 0.2)

    Args:
        kind: an entry of ``SCHEDULES``.
        final: the last share, to the bit, in (0, 1].
        steps: 1 or more.

    Raises:
        ModelError: an unknown schedule, or a share or number of steps out of range.
    """
    if not 0 < final <= 1:
        raise ModelError(f"a pruning schedule cannot end at a share of {final}: give one above 0 and at most 1")
    if steps not in COUNT:
        raise ModelError(f"a pruning schedule cannot have {steps} steps: give 1 or more")
    done = SCHEDULES.find(kind)
    return tuple(final + (1 - final) * (1 - done(step / steps)) for step in range(1, steps + 1))
