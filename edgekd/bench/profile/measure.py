"""A profile by the runtime that the workload names, taken in this process."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgekd.bench.environment import Neighbours
from edgekd.bench.plan import Workload
from edgekd.bench.profile.layers import LayerProfile
from edgekd.errors import MeasurementError
from edgekd.registry import Registry

Profiler = Callable[[Workload, int, int, int, "Path | None"], LayerProfile]

PROFILERS: Registry[Callable[[], Profiler]] = Registry("runtime that can be profiled", MeasurementError)


def profile_workload(
    workload: Workload, threads: int, batch: int, runs: int, trace_to: Path | None = None
) -> LayerProfile:
    """Profile ``workload`` in its runtime: the median time of each layer over ``runs`` inferences."""
    if runs < 1:
        raise MeasurementError(f"{runs} runs are nothing to take a median of; give --runs 1 or more")
    profile = PROFILERS.find(workload.runtime)()
    neighbours = Neighbours()
    found = profile(workload, threads, batch, runs, trace_to)
    return replace(found, busy=neighbours.share())


@PROFILERS.register("onnxruntime")
def onnxruntime() -> Profiler:
    from edgekd.bench.runtimes.onnxruntime.profile import profile

    return profile


@PROFILERS.register("pytorch")
def pytorch() -> Profiler:
    from edgekd.bench.runtimes.pytorch.profile import profile

    return profile


@PROFILERS.register("tensorrt")
def tensorrt() -> Profiler:
    from edgekd.bench.runtimes.tensorrt.profile import profile

    return profile
