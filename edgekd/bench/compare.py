"""Interleaved timing of several candidates, so that whatever the machine does affects all of them.

Two times measured one after the other differ by whatever the machine did in between. Here every round runs a
small block of each candidate, in a new random order, and ratios are taken over rounds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekd.bench import clock
from edgekd.bench.clock import Call, Nanoseconds, collect, collector_off
from edgekd.bench.records import LatencyRatio, LatencySummary
from edgekd.errors import MeasurementError
from edgekd.stats.percentiles import percentile, percentile_interval
from edgekd.stats.ratios import ratio_of_medians

BLOCK_S = 0.01
MIN_ROUNDS = 30
MIN_FOR_P99 = 400
OVERTIME = 4
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

Rounds = list[Nanoseconds]
Blocks = Sequence[NDArray[Any]]


class TimingCandidate(Protocol):
    """A call to time: in this process, or in a process of its own."""

    def warm_up(self, seconds: float) -> Nanoseconds: ...

    def block(self, runs: int, settle: bool) -> Nanoseconds: ...


@dataclass(frozen=True)
class InProcess:
    call: Call

    def warm_up(self, seconds: float) -> Nanoseconds:
        return clock.warm_up(self.call, seconds)

    def block(self, runs: int, settle: bool) -> Nanoseconds:
        return block(self.call, runs, settle)


def interleave(
    callables: Mapping[str, Callable[[], Any]],
    seconds: float,
    block_runs: int | None = None,
    seed: int = 0,
    warmup_s: float = 0.5,
) -> dict[str, Rounds]:
    """Return the nanoseconds of each candidate's calls in this process, one block per round.

    ``seconds`` is the time for each candidate. It is exceeded for the sake of 30 rounds, four times at most.
    Without ``block_runs`` a block holds as many runs as take about 10 ms.
    """
    if not callables or seconds <= 0:
        raise MeasurementError("nothing to time: give at least one candidate and more than 0 seconds")
    candidates = {name: InProcess(call) for name, call in callables.items()}
    runs = {name: block_runs or runs_per_block(one.warm_up(warmup_s)) for name, one in candidates.items()}
    with collector_off():
        return take_turns(candidates, runs, seconds, MIN_ROUNDS, np.random.default_rng(seed))


def take_turns(
    candidates: Mapping[str, TimingCandidate],
    runs: Mapping[str, int],
    seconds: float,
    min_rounds: int,
    order: np.random.Generator,
) -> dict[str, Rounds]:
    names = list(candidates)
    blocks: dict[str, Rounds] = {name: [] for name in names}
    started, rounds, budget = perf_counter(), 0, seconds * len(names)
    while not is_over(rounds, min_rounds, perf_counter() - started, budget):
        for index in order.permutation(len(names)):
            name = names[index]
            # The one before left its data in the caches, and its idle threads spin on for a moment.
            blocks[name].append(candidates[name].block(runs[name], settle=len(names) > 1))
        rounds += 1
    return blocks


def runs_per_block(warm_times: Nanoseconds) -> int:
    typical = float(np.median(warm_times[-(len(warm_times) // 3 + 1) :]))
    return max(1, round(BLOCK_S * 1e9 / max(typical, 1.0)))


def is_over(rounds: int, min_rounds: int, elapsed: float, budget: float) -> bool:
    return rounds > 0 and (elapsed >= OVERTIME * budget or (rounds >= min_rounds and elapsed >= budget))


def block(call: Call, runs: int, settle: bool) -> Nanoseconds:
    if settle:
        call()
    return collect(call, 0, runs, runs)


def summarise(samples: NDArray[Any] | Blocks) -> LatencySummary:
    """Summarise ``samples`` (nanoseconds) in milliseconds."""
    times = flat(samples) / 1e6
    percentiles: Any = {}
    for name, p in PERCENTILES.items():
        if name != "p99" or len(times) >= MIN_FOR_P99:
            percentiles |= {name: percentile(times, p), f"ci95_{name}": percentile_interval(times, p)}
    return LatencySummary(float(times.min()), float(times.mean()), len(times), **percentiles)


def ratio_to(blocks: Blocks, reference: Blocks, seed: int = 0) -> LatencyRatio:
    """Return the ratio of the two medians over rounds; under 1 is faster than the reference."""
    return LatencyRatio(*ratio_of_medians(blocks, reference, seed))


def flat(samples: NDArray[Any] | Blocks) -> NDArray[Any]:
    if isinstance(samples, np.ndarray):
        return samples
    if not samples:
        raise MeasurementError("no samples: a statistic needs at least one")
    return np.concatenate(list(samples))
