"""Latency check: no cut may make the network slower.

Fewer multiply-accumulates do not imply less time. Kernels work in blocks of channels, and a width that is no multiple
of a block can cost more than the wider layer did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekd.errors import ModelError
from edgekd.log import get_logger
from edgekd.prune.budget import Pruned
from edgekd.prune.clock import Clock, Timing

logger = get_logger(__name__)


@dataclass(frozen=True)
class LatencyCheck:
    """The cut network that was chosen, with its timing.

    Attributes:
        round_to: its widths are multiples of this.
        rejected: other multiples that were tried, with their timings.
    """

    pruned: Pruned
    round_to: int
    timing: Timing
    rejected: tuple[tuple[int, Timing], ...] = ()


def check_latency(cut: Callable[[int], Pruned], clock: Clock, steps: Sequence[int]) -> LatencyCheck:
    """Return the first cut that does not measure significantly slower than ``clock``'s reference.

    A cut that measures slower is measured once more before it is rejected: one reading in forty is slower by chance.
    If every cut is slower, the time is not spent in channels. The fastest is then returned, and its
    ``timing.is_slower``.

    Args:
        cut: ``cut(step)`` prunes to the same target with widths in multiples of ``step``.
        steps: multiples to try, the preferred one first, such as (8, 16, 32).

    Raises:
        ModelError: the target cannot be reached at the first step.
    """
    rejected: list[tuple[Timing, int, Pruned]] = []
    for step in steps:
        try:
            pruned = cut(step)
        except ModelError:
            if not rejected:
                raise
            break
        timing = clock.time(pruned.network)
        if timing.is_slower:
            timing = clock.time(pruned.network)
        if not timing.is_slower:
            return LatencyCheck(pruned, step, timing, tuple((step, timing) for timing, step, _ in rejected))
        rejected.append((timing, step, pruned))
        logger.info(f"  prune: widths in multiples of {step} take {timing.measured:.1%} of the time")
    fastest, step, pruned = min(rejected, key=lambda each: each[0].measured)
    others = tuple((step, timing) for timing, step, _ in rejected if timing != fastest)
    return LatencyCheck(pruned, step, fastest, others)
