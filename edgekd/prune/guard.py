"""No cut that makes the network slower.

Fewer multiply-accumulates are no promise: kernels work in blocks of channels, and a width beside a block's multiple
costs more than the wider one did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekd.errors import ModelError
from edgekd.log import get_logger
from edgekd.prune.budget import Pruned
from edgekd.prune.clock import Clock, Timing

logger = get_logger(__name__)


@dataclass(frozen=True)
class Guarded:
    """A cut network, the multiple that its widths are, its time over that before, and what others measured."""

    pruned: Pruned
    round_to: int
    timing: Timing
    refused: tuple[tuple[int, Timing], ...] = ()


def never_slower(cut: Callable[[int], Pruned], clock: Clock, steps: Sequence[int]) -> Guarded:
    """The first of ``steps`` at which the cut network is not surely slower than ``clock``'s reference.

    What measures slower is measured once more before it is refused: one reading in forty is slower by chance. Where
    the network is slower at every step, its time is not in its channels, and the fastest of them is given, whose
    ``timing.is_slower``.

    Args:
        cut: cuts to the same target with widths in multiples of its argument.
        steps: multiples, the one that is wanted first, such as (8, 16, 32).

    Raises:
        ModelError: the target cannot be reached at the first step.
    """
    refused: list[tuple[Timing, int, Pruned]] = []
    for step in steps:
        try:
            pruned = cut(step)
        except ModelError:
            if not refused:
                raise
            break
        timing = clock.time(pruned.network)
        if timing.is_slower:
            timing = clock.time(pruned.network)
        if not timing.is_slower:
            return Guarded(pruned, step, timing, tuple((step, timing) for timing, step, _ in refused))
        refused.append((timing, step, pruned))
        logger.info(f"  prune: widths in multiples of {step} take {timing.measured:.1%} of the time")
    fastest = min(refused, key=lambda each: each[0].measured)
    timing, step, pruned = fastest
    return Guarded(pruned, step, timing, tuple((step, timing) for timing, step, _ in refused if timing != fastest[0]))
