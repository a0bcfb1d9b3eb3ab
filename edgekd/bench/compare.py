"""Interleaved timing of several calls in this process, so that whatever the machine does affects all of them.

Two times measured one after the other differ by whatever the machine did in between. Here every round runs a
small block of each candidate, in a new random order, and ratios are taken over rounds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.agent.blocks import TimedBlock, run_block, runs_per_block
from edgekd.agent.clock import collect, collector_off, warm_up
from edgekd.agent.threads import Pool, threads_now
from edgekd.agent.turns import MIN_ROUNDS, take_turns
from edgekd.bench.records import LatencyRatio, LatencySummary
from edgekd.bench.undisturbed import paired_costs
from edgekd.errors import MeasurementError
from edgekd.machine_lock import timing
from edgekd.stats.percentiles import percentile, percentile_interval
from edgekd.stats.ratios import ratio_of_medians

if TYPE_CHECKING:
    from edgekd.agent.clock import Call

MIN_FOR_P99 = 400
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

Nanoseconds = NDArray[np.int64]


def sample(
    call: Call,
    warmup_s: float = 0.5,
    warmup_runs: int = 10,
    seconds: float = 1.0,
    min_runs: int = 30,
    max_runs: int = 100_000,
) -> Nanoseconds:
    """Return the nanoseconds (calls,) of each call after a warm-up.

    Calls go on for ``seconds``, but there are at least ``min_runs`` and at most ``max_runs``. No other process of
    edgekd on this machine times or trains meanwhile: it waits for those that do.
    """
    with timing():
        warm_up(call, warmup_s, warmup_runs)
        with collector_off():
            return np.array(collect(call, seconds, min_runs, max_runs), np.int64)


def interleave(
    callables: Mapping[str, Callable[[], Any]],
    seconds: float,
    block_runs: int | None = None,
    seed: int = 0,
    warmup_s: float = 0.5,
) -> dict[str, list[TimedBlock]]:
    """Time ``callables`` in turns in this process, and return each one's blocks of calls, one per round.

    As in :func:`sample`, no other process of edgekd times or trains meanwhile.

    Args:
        callables: what is timed, by name; called without arguments.
        seconds: time for each of them, above 0; up to four times as long where 30 rounds need it.
        block_runs: calls in a block; as many as take about 10 ms if left out.
        seed: of the order in each round.
        warmup_s: seconds of calls before the first round.

    Raises:
        MeasurementError: there is nothing to time.
    """
    if not callables or seconds <= 0:
        raise MeasurementError("nothing to time: give at least one candidate and more than 0 seconds")
    several = len(callables) > 1
    with timing():
        before, started = threads_now(), perf_counter_ns()
        warm = {
            name: warm_up(call, warmup_s) if block_runs is None else collect(call, 0, 1)
            for name, call in callables.items()
        }
        runs = {name: block_runs or runs_per_block(times) for name, times in warm.items()}
        pool = Pool(before, perf_counter_ns() - started)
        blocks = {name: partial(run_block, call, runs[name], several, pool) for name, call in callables.items()}
        with collector_off():
            return take_turns(blocks, seconds, MIN_ROUNDS, random.Random(seed))


def summarise(samples: NDArray[Any] | Sequence[TimedBlock]) -> LatencySummary:
    """Summarise ``samples`` (nanoseconds), or the wall times of blocks, in milliseconds."""
    times = flat(samples) / 1e6
    percentiles: Any = {}
    for name, p in PERCENTILES.items():
        if name != "p99" or len(times) >= MIN_FOR_P99:
            percentiles |= {name: percentile(times, p), f"ci95_{name}": percentile_interval(times, p)}
    return LatencySummary(float(times.min()), float(times.mean()), len(times), **percentiles)


def ratio_to(blocks: Sequence[TimedBlock], reference: Sequence[TimedBlock], seed: int = 0) -> LatencyRatio:
    """Return the ratio of the two costs, the median over rounds; under 1 is faster than the reference.

    Raises:
        MeasurementError: others took so much of the processors that fewer than two rounds are left.
    """
    return LatencyRatio(*ratio_of_medians(*paired_costs(blocks, reference), seed))


def flat(samples: NDArray[Any] | Sequence[TimedBlock]) -> NDArray[Any]:
    if isinstance(samples, np.ndarray):
        return samples
    if not samples:
        raise MeasurementError("no samples: a statistic needs at least one")
    return np.concatenate([block.ns for block in samples])
