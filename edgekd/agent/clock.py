"""Timing of a call: closed loop without think time, monotonic clock, after a warm-up, garbage collector off."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from statistics import median
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Call = Callable[[], Any]

WARM_UP_RUNS = 10
STEADY = 0.02
PATIENCE = 4


def warm_up(call: Call, seconds: float = 0.5, runs: int = WARM_UP_RUNS) -> list[int]:
    """Call for ``seconds`` and ``runs``, then until times are steady, for four times ``seconds`` at most.

    Returns the nanoseconds of each call.
    """
    started = perf_counter_ns()
    times = collect(call, seconds, runs)
    while not is_steady(times) and perf_counter_ns() - started < PATIENCE * seconds * 1e9:
        times += collect(call, seconds / 2, 1)
    return times


def is_steady(times: Sequence[float], tolerance: float = STEADY) -> bool:
    """Tell whether the medians of the last and the middle third of ``times`` differ by at most ``tolerance``."""
    third = len(times) // 3
    if not third:
        return False
    middle, last = median(times[third : 2 * third]), median(times[-third:])
    return abs(last - middle) <= tolerance * middle


def collect(call: Call, seconds: float, min_runs: int, max_runs: int | None = None) -> list[int]:
    """Return the nanoseconds of each call: ``seconds`` of calls, but ``min_runs`` to ``max_runs``."""
    times: list[int] = []
    deadline = perf_counter_ns() + round(seconds * 1e9)
    while max_runs is None or len(times) < max_runs:
        start = perf_counter_ns()
        call()
        end = perf_counter_ns()
        times.append(end - start)
        if end >= deadline and len(times) >= min_runs:
            break
    return times


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep the garbage collector off, which would run in the midst of a call."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
