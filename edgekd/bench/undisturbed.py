"""The cost of inferences: their times without what other processes took of them.

An inference that is preempted takes longer by a time slice or more, and a long inference is preempted more often than a
short one, so that neither wall times nor their ratio say what the code costs where the processors are shared.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.agent.blocks import TimedBlock

# Of a block's wall time, what may be missing from it and is not looked at: a pool's threads help each other out.
NEGLIGIBLE = 0.005
# Of a block's inferences, how many may have been hit, so that their median is still one of the others.
MINORITY = 0.25
# Of a block's wall time; what is left beyond is too little of it to be a measurement.
MOST_LOST = 0.98

# Of the wall time of all blocks at ordinary priority; beyond it caches are cold most of the time, and costs too high.
MOST_TAKEN = 0.65

Rounds = Sequence[TimedBlock]
Samples = NDArray[np.float64]


def undisturbed(block: TimedBlock) -> Samples | None:
    """Return the nanoseconds of the block's inferences without what others took, or None if that cannot be told.

    Without a pool of threads the time that others took is known, and is taken from the longest inferences first: none
    was shorter for being preempted. With a pool, a thread that waits holds up others, which find something else to do
    or spin: the inferences of such a block count only where few of them can have been hit. Where the system says
    nothing of the pool, they all count, and :mod:`edgekd.bench.runner` warns.
    """
    times = np.array(block.ns, np.float64)
    total = float(times.sum())
    if not block.pool:
        return levelled(times, block.lost_ns) if block.lost_ns <= MOST_LOST * total else None
    if block.waited_ns is None:
        return times
    taken = block.lost_ns + block.waited_ns
    if taken <= NEGLIGIBLE * total:
        return times
    hit = block.switches + taken / float(np.median(times))
    return times if hit <= MINORITY * len(times) else None


def levelled(times: Samples, excess: float) -> Samples:
    """Return ``times`` with the longest lowered to one level, so that they add up to ``excess`` less."""
    if excess <= 0:
        return times
    ordered = np.sort(times)[::-1]
    # What is saved by lowering the first k to the next one.
    saved = np.cumsum(ordered)[:-1] - ordered[1:] * np.arange(1, len(ordered))
    count = int(np.searchsorted(saved, excess)) + 1
    level = (ordered[:count].sum() - excess) / count
    return np.minimum(times, level)


def costs(rounds: Iterable[TimedBlock]) -> list[Samples]:
    """Return the undisturbed times of each block of which they can be told."""
    return [times for times in map(undisturbed, rounds) if times is not None]


def paired_costs(ours: Rounds, theirs: Rounds) -> tuple[list[Samples], list[Samples]]:
    """Return the undisturbed times of two candidates in the rounds in which those of both can be told."""
    pairs = [(undisturbed(one), undisturbed(other)) for one, other in zip(ours, theirs, strict=True)]
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    return [one for one, _ in known], [other for _, other in known]


def taken_share(rounds: Iterable[TimedBlock]) -> float:
    """Return the share of the blocks' wall time in which others ran in the main thread's place."""
    blocks = list(rounds)
    return sum(block.lost_ns for block in blocks) / sum(sum(block.ns) for block in blocks)
