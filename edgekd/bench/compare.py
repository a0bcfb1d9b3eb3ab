"""Contenders timed in turns, so that what the machine does to one it does to all.

Two figures taken one after the other differ by whatever the machine did in between. Here every round runs a
small block of each contender, in an order drawn anew, and ratios are taken over rounds.
"""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.bench.clock import Call, Nanoseconds, collect, collector_off, warm_up
from edgekd.bench.statistics import percentile, percentile_interval, ratio_of_medians
from edgekd.errors import MeasurementError

BLOCK_S = 0.01
MIN_ROUNDS = 30
MIN_FOR_P99 = 400
OVERTIME = 4

Blocks = Sequence[NDArray[Any]]


def interleave(
    callables: Mapping[str, Callable[[], Any]],
    seconds: float,
    block_runs: int | None = None,
    seed: int = 0,
    warmup_s: float = 0.5,
) -> dict[str, list[Nanoseconds]]:
    """Nanoseconds of each call of each contender, a block per round.

    ``seconds`` is the time for each contender. It is exceeded for the sake of 30 rounds, four times at most.
    Without ``block_runs`` a block holds as many runs as take about 10 ms.
    """
    if not callables or seconds <= 0:
        raise MeasurementError("nothing to time: give at least one contender and more than 0 seconds")
    runs = {name: block_runs or runs_per_block(warm_up(call, warmup_s)) for name, call in callables.items()}
    names = list(callables)
    order = np.random.default_rng(seed)
    blocks: dict[str, list[Nanoseconds]] = {name: [] for name in names}
    with collector_off():
        started, rounds, budget = perf_counter(), 0, seconds * len(names)
        while not is_over(rounds, perf_counter() - started, budget):
            for index in order.permutation(len(names)):
                name = names[index]
                blocks[name].append(block(callables[name], runs[name], alone=len(names) == 1))
            rounds += 1
    return blocks


def runs_per_block(warm_times: Nanoseconds) -> int:
    typical = float(np.median(warm_times[-(len(warm_times) // 3 + 1) :]))
    return max(1, round(BLOCK_S * 1e9 / max(typical, 1.0)))


def is_over(rounds: int, elapsed: float, budget: float) -> bool:
    return rounds > 0 and (elapsed >= OVERTIME * budget or (rounds >= MIN_ROUNDS and elapsed >= budget))


def block(call: Call, runs: int, alone: bool) -> Nanoseconds:
    if not alone:
        call()  # the one before left its data in the caches, and its idle threads spin on for a moment
    return collect(call, 0, runs, runs)


def summarise(samples: NDArray[Any] | Blocks) -> dict[str, Any]:
    """Figures in milliseconds of ``samples`` in nanoseconds; what their number does not carry is absent."""
    times = flat(samples) / 1e6
    summary: dict[str, Any] = {
        "p50": percentile(times, 0.5),
        "p90": percentile(times, 0.9),
        "min": float(times.min()),
        "mean": float(times.mean()),
        "n": len(times),
    }
    if len(times) >= MIN_FOR_P99:
        summary["p99"] = percentile(times, 0.99)
    if interval := percentile_interval(times, 0.5):
        summary["ci95_p50"] = list(interval)
    return summary


def ratio_to(blocks: Blocks, reference: Blocks, seed: int = 0) -> dict[str, Any]:
    """``{"ratio", "ci95"}``: under 1 is faster than the reference."""
    ratio, interval = ratio_of_medians(blocks, reference, seed)
    return {"ratio": ratio, "ci95": list(interval)}


def flat(samples: NDArray[Any] | Blocks) -> NDArray[Any]:
    if isinstance(samples, np.ndarray):
        return samples
    if not samples:
        raise MeasurementError("no samples: a statistic needs at least one")
    return np.concatenate(list(samples))
