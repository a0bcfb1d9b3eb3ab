"""Interleaved inferences of several ONNX files in one process, some with their kernel times recorded."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.bench.clock import collector_off
from edgekd.bench.plan import Workload
from edgekd.bench.runtimes.onnxruntime.session import OnnxSession
from edgekd.bench.runtimes.onnxruntime.trace import Trace
from edgekd.files import temporary_folder


@dataclass(frozen=True)
class InterleavedRuns:
    """Inferences at batch 1 to run in turns: ``order`` is one turn, by the names of ``models``.

    ONNX Runtime records the kernels of the models in ``recorded``. After ``warmup`` turns they count, until ``seconds``
    are over, but ``least`` to ``most`` of them. ``optimised`` says for some models where their optimised graph goes.
    """

    models: Mapping[str, Path]
    order: Sequence[str]
    recorded: Collection[str]
    threads: int
    warmup: int
    least: int
    most: int
    seconds: float = 0.0
    optimised: Mapping[str, Path] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON, without paths of this machine."""
        return {
            **{"order": list(self.order), "recorded": sorted(self.recorded), "threads": self.threads},
            **{"optimised": sorted(self.optimised)},
            **{"warmup": self.warmup, "least": self.least, "most": self.most, "seconds": self.seconds},
        }


@dataclass(frozen=True)
class InterleavedTimes:
    """``times_ns`` (counted turns, inferences in a turn), and the traces of recorded models in all turns."""

    times_ns: NDArray[np.int64]
    traces: Mapping[str, Trace]

    def runs(self, name: str, turns: InterleavedRuns) -> int:
        """Return the number of counted inferences of ``name``."""
        return len(self.times_ns) * list(turns.order).count(name)


def take(turns: InterleavedRuns) -> InterleavedTimes:
    """Run the inferences on this machine.

    Raises:
        MeasurementError: a model does not load or run.
    """
    with temporary_folder() as folder:
        sessions = {
            name: OnnxSession(
                Workload(str(path)),
                turns.threads,
                profile_to=folder / name if name in turns.recorded else None,
                optimized_to=turns.optimised.get(name),
            )
            for name, path in turns.models.items()
        }
        with collector_off():
            times = [[timed(sessions[name]) for name in turns.order] for _ in range(turns.warmup)]
            times, deadline = [], perf_counter_ns() + round(turns.seconds * 1e9)
            while len(times) < turns.least or (perf_counter_ns() < deadline and len(times) < turns.most):
                times.append([timed(sessions[name]) for name in turns.order])
        traces = {name: sessions[name].end_profiling() for name in turns.recorded}
    return InterleavedTimes(np.array(times, np.int64), traces)


def timed(session: OnnxSession) -> int:
    started = perf_counter_ns()
    session.run()
    return perf_counter_ns() - started
