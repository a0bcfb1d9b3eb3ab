"""Machines that time models: this one, or through :mod:`edgekd.devices.targets` a device behind SSH."""

import platform
from types import TracebackType
from typing import Any, Protocol

from edgekd.bench.environment import Environment, fingerprint
from edgekd.bench.interleaved import InterleavedRuns, InterleavedTimes, interleave_here
from edgekd.bench.peak_memory import memory
from edgekd.bench.plan import Plan
from edgekd.bench.profile.cache import MachineFacts, machine_facts
from edgekd.bench.records import LatencyRecord, MemoryRecord
from edgekd.bench.runner import ProgressHook, measure


class Facts(Protocol):
    """Facts that times on a machine depend on: readings of another machine are not used."""

    def to_json(self) -> dict[str, Any]: ...


class TimingTarget(Protocol):
    """A machine that times models, used as a context manager."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def architecture(self) -> str:
        """Return the processor's architecture: ``x86_64``, ``aarch64``."""
        ...

    def facts(self, threads: int) -> Facts:
        """Return the facts that times on this machine depend on."""
        ...

    def latency(
        self, plan: Plan, timeout_s: float | None = None, progress: ProgressHook = iter
    ) -> dict[str, LatencyRecord]:
        """Time the plan's models as :func:`edgekd.bench.measure` does."""
        ...

    def interleave(self, turns: InterleavedRuns) -> InterleavedTimes:
        """Run inferences in turns and record their kernels."""
        ...


class LocalTarget:
    """This machine: its CPU or its GPU, whichever each workload names."""

    def __enter__(self) -> "LocalTarget":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def architecture(self) -> str:
        return platform.machine()

    def facts(self, threads: int) -> MachineFacts:
        return machine_facts(threads)

    def environment(self) -> Environment:
        return fingerprint()

    def latency(
        self, plan: Plan, timeout_s: float | None = None, progress: ProgressHook = iter
    ) -> dict[str, LatencyRecord]:
        return measure(plan, timeout_s, progress)

    def interleave(self, turns: InterleavedRuns) -> InterleavedTimes:
        return interleave_here(turns)

    def memory(self, plan: Plan) -> dict[str, MemoryRecord]:
        """Return the peak memory of each workload, as :func:`edgekd.bench.peak_memory.memory` measures it."""
        workloads = plan.workloads.items()
        return {name: memory(workload, plan.threads, plan.batch) for name, workload in workloads}
