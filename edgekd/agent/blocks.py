"""Blocks of inferences of one model, with what the machine took from them meanwhile."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from edgekd.agent.clock import collect
from edgekd.agent.threads import Waiting, involuntary_switches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekd.agent.clock import Call
    from edgekd.agent.threads import Pool

BLOCK_S = 0.01


class TimedBlock(NamedTuple):
    """Inferences in a row.

    Attributes:
        ns: wall nanoseconds of each.
        lost_ns: how long others ran in the main thread's place, in the block.
        waited_ns: how long threads of the runtime's pool waited for a processor, all together; None where the system
            does not say it, and then nothing of ``lost_ns`` either.
        switches: how often a thread of the process was preempted.
        pool: how many threads the runtime's pool has beside the main one.
    """

    ns: list[int]
    lost_ns: int = 0
    waited_ns: int | None = 0
    switches: int = 0
    pool: int = 0

    def to_json(self) -> dict[str, Any]:
        return self._asdict()


def run_block(call: Call, runs: int, settle: bool = False, pool: Pool | None = None) -> TimedBlock:
    """Call ``runs`` times, and once before that to ``settle``: another model left its data in the caches."""
    if settle:
        call()
    waited, switches = pool.waited_ns() if pool else 0, involuntary_switches()
    waiting = Waiting()
    times = collect(call, 0, runs, runs)
    lost = waiting.lost_ns(sum(times))
    switches = involuntary_switches() - switches
    waited = (pool.waited_ns() if pool else 0) - waited
    if pool and pool.is_hidden:
        # The main thread waits for the pool, which looks like time that others took.
        return TimedBlock(times, 0, None, switches, pool.size)
    return TimedBlock(times, lost, waited, switches, pool.size if pool else 0)


def runs_per_block(warm_times: Sequence[int]) -> int:
    """Return how many runs take about ten milliseconds, by the last third of a warm-up."""
    typical = median(warm_times[-(len(warm_times) // 3 + 1) :])
    return max(1, round(BLOCK_S * 1e9 / max(typical, 1)))
