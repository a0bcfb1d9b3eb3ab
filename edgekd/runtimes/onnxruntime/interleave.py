"""Interleaved inferences of several ONNX files in one process, some with their kernels' times recorded."""

from time import perf_counter_ns

import numpy as np

from edgekd.bench.clock import collector_off
from edgekd.bench.interleaved import InterleavedRuns, InterleavedTimes
from edgekd.bench.plan import Workload
from edgekd.files import temporary_folder
from edgekd.runtimes.onnxruntime.session import OnnxSession


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
