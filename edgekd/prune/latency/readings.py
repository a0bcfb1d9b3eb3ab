"""Times of single kernels, from ONNX Runtime's profiler."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.bench.interleaved import InterleavedRuns, InterleavedTimes
from edgekd.bench.profile.trace import KernelRun
from edgekd.errors import DisturbedError

# Other processes can only slow a kernel down.
FASTEST = 0.2


@dataclass(frozen=True)
class Reading:
    """A kernel's time in one inference, including the profiler's overhead."""

    name: str
    op: str
    ms: float


def readings(taken: InterleavedTimes, turns: InterleavedRuns, name: str) -> list[Reading]:
    """Return the kernels of the model ``name`` with their times; kernels within a loop are added up.

    Only inferences whose cost can be told count.
    """
    inferences, _ = taken.traces[name].last(taken.runs(name, turns))
    spent = [_spent(kernels) for kernels, known in zip(inferences, taken.known(name, turns), strict=True) if known]
    first = {kernel.identity: kernel for kernel in inferences[0]}
    return [
        # The profiler cuts to whole microseconds.
        Reading(kernel.name, kernel.op, (fast_mean([each.get(key, 0) for each in spent]) + 0.5) / 1e3)
        for key, kernel in first.items()
    ]


def fast_mean(times: Sequence[float] | NDArray[Any]) -> float:
    """Return the mean of the fastest fifth: about the tenth percentile, in finer steps than the clock's.

    Raises:
        DisturbedError: every time is NaN, since others took part of it.
    """
    ordered = np.sort(np.asarray(times, dtype=np.float64))
    ordered = ordered[~np.isnan(ordered)]
    if not len(ordered):
        raise DisturbedError(
            "others took processor time from every inference: stop them, or run it again when they rest"
        )
    return float(ordered[: max(1, round(FASTEST * len(ordered)))].mean())


def _spent(kernels: Sequence[KernelRun]) -> dict[tuple[str, str], float]:
    microseconds: dict[tuple[str, str], float] = defaultdict(int)
    for kernel in kernels:
        microseconds[kernel.identity] += kernel.duration
    return microseconds
