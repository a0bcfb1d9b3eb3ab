"""No cut that makes the network slower.

Fewer multiply-accumulates are no promise: kernels work in blocks of channels, and a width beside a block's multiple
costs more than the wider one did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekd.errors import ModelError
from edgekd.progress import say
from edgekd.prune.budget import Pruned
from edgekd.prune.clock import Clock, Timing


@dataclass(frozen=True)
class Guarded:
    """A cut network that is no slower than before, the multiple that its widths are, and what others measured."""

    pruned: Pruned
    round_to: int
    timing: Timing
    refused: tuple[tuple[int, Timing], ...] = ()


def never_slower(cut: Callable[[int], Pruned], clock: Clock, steps: Sequence[int]) -> Guarded:
    """The first of ``steps`` at which the cut network is not surely slower than ``clock``'s reference.

    What measures slower is measured once more before it is refused: one reading in forty is slower by chance.

    Args:
        cut: cuts to the same target with widths in multiples of its argument.
        steps: multiples, the one that is wanted first, such as (8, 16, 32).

    Raises:
        ModelError: the network is slower at every step, or not one of them can reach the target.
    """
    refused: list[tuple[int, Timing]] = []
    unreached: ModelError | None = None
    for step in steps:
        try:
            pruned = cut(step)
        except ModelError as error:
            if not refused:
                raise
            unreached = error
            break
        timing = clock.time(pruned.network)
        if timing.is_slower:
            timing = clock.time(pruned.network)
        if not timing.is_slower:
            return Guarded(pruned, step, timing, tuple(refused))
        refused.append((step, timing))
        say(f"  prune: widths in multiples of {step} take {timing.measured:.1%} of the time; another rounding is tried")
    tried = "; ".join(f"in multiples of {step}: {timing.measured:.1%}" for step, timing in refused)
    raise ModelError(
        f"pruning makes this network slower here, widths {tried} of its time"
        + (f"; with coarser ones {unreached}" if unreached else "")
        + ": prune to a latency, prune more, or leave it as it is"
    )
