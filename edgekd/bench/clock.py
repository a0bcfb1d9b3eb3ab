"""Timing of a call: closed loop without think time, monotonic clock, after a warm-up, garbage collector off."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], Any]
Nanoseconds = NDArray[np.int64]

STEADY = 0.02
PATIENCE = 4


def sample(
    call: Call,
    warmup_s: float = 0.5,
    warmup_runs: int = 10,
    seconds: float = 1.0,
    min_runs: int = 30,
    max_runs: int = 100_000,
) -> Nanoseconds:
    """Return the nanoseconds of each call after a warm-up: ``seconds`` of calls, but ``min_runs`` to ``max_runs``."""
    warm_up(call, warmup_s, warmup_runs)
    with collector_off():
        return collect(call, seconds, min_runs, max_runs)


def warm_up(call: Call, seconds: float = 0.5, runs: int = 10) -> Nanoseconds:
    """Call for ``seconds`` and ``runs``, then until times are steady, for four times ``seconds`` at most."""
    started = perf_counter_ns()
    times = collect(call, seconds, runs)
    while not is_steady(times) and perf_counter_ns() - started < PATIENCE * seconds * 1e9:
        times = np.concatenate([times, collect(call, seconds / 2, 1)])
    return times


def is_steady(times: NDArray[Any], tolerance: float = STEADY) -> bool:
    """Tell whether the medians of the last and the middle third of ``times`` differ by at most ``tolerance``."""
    if len(times) < 3:
        return False
    _, middle, last = (np.median(third) for third in np.array_split(times, 3))
    return bool(abs(last - middle) <= tolerance * middle)


def collect(call: Call, seconds: float, min_runs: int, max_runs: int | None = None) -> Nanoseconds:
    times: list[int] = []
    deadline = perf_counter_ns() + round(seconds * 1e9)
    while max_runs is None or len(times) < max_runs:
        start = perf_counter_ns()
        call()
        end = perf_counter_ns()
        times.append(end - start)
        if end >= deadline and len(times) >= min_runs:
            break
    return np.array(times, dtype=np.int64)


@contextmanager
def collector_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
