"""Memory bandwidth by working set, measured by copies in NumPy, which releases the interpreter's lock for them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from threading import Barrier
from time import perf_counter_ns

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

SIZES = tuple(2**exponent for exponent in range(15, 29))  # 32 KiB to 256 MiB
LINE, PAGE = 64, 4096
# A load that shares the last 12 bits of its address with a store just before it waits for it, so two copies
# whose distance differs in these bits are tried, and the faster counts.
DISTANCES = (1024, 3072)
REPETITIONS = 16
SECONDS = 0.002

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def measure_bandwidth(threads: int, sizes: Sequence[int] = SIZES) -> tuple[tuple[int, float], ...]:
    """Return (bytes, GB/s) pairs, reads and writes counted, of ``threads`` threads that share each working set."""
    with ThreadPoolExecutor(threads) as pool:
        rates = [best_rate(size, threads, pool) for size in sizes]
    # The rate at which a larger set is copied is one at which a smaller one can be.
    rising = list(accumulate(reversed(rates), max))[::-1]
    return tuple(zip(sizes, rising, strict=True))


def best_rate(size: int, threads: int, pool: ThreadPoolExecutor) -> float:
    """Return the best of many short repetitions: other processes can only slow a copy down."""
    best = 0.0
    for distance in DISTANCES:
        pairs = [buffers(size // threads, distance) for _ in range(threads)]
        start = Barrier(threads)
        futures = [pool.submit(copy_rates, pair, start) for pair in pairs]
        best = max(best, *np.sum([future.result() for future in futures], axis=0))
    return float(best)


def buffers(size: int, distance: int) -> Pair:
    """Return views of ``size`` bytes in all, source and target, each a window that moves by a cache line many times.

    A copy of some kilobytes is over before the call that makes it; moving on within one call keeps the working
    set and takes the call out of the measurement.
    """
    half = size // 2
    moves = max(1, min(64, half // (16 * LINE))) if size <= 2**22 else 1
    room = half + moves * LINE
    block = np.ones(2 * room + 4 * PAGE, np.uint8)  # written, so that no page of it is the shared zero page
    first = -block.ctypes.data % PAGE
    second = first + -(-room // PAGE) * PAGE + distance
    source, target = (as_strided(block[start:], (moves, half), (LINE, 1)) for start in (first, second))
    return source, target


def copy_rates(pair: Pair, start: Barrier) -> list[float]:
    source, target = pair
    rates = []
    for _ in range(REPETITIONS if source.size < 2**24 else 3):
        start.wait()
        began = perf_counter_ns()
        count = 0
        while perf_counter_ns() - began < SECONDS * 1e9:
            np.copyto(target, source)
            count += 1
        rates.append(2 * source.size * count / (perf_counter_ns() - began))
    return rates
