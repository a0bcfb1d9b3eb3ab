"""Where models are timed: this machine, or what :mod:`edgekd.devices.place` has a way to."""

import platform
from types import TracebackType
from typing import Any, Protocol

from edgekd.bench.conduct import Shown, measure
from edgekd.bench.environment import fingerprint
from edgekd.bench.plan import Plan
from edgekd.bench.profile.cache import machine_facts
from edgekd.bench.records import LatencyRecord
from edgekd.bench.runtimes.onnxruntime.turns import Taken, Turns, take
from edgekd.bench.worker import memory


class Place(Protocol):
    """Used in a ``with`` block."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def architecture(self) -> str:
        """Of its processor: ``x86_64``, ``aarch64``."""
        ...

    def facts(self, threads: int) -> dict[str, Any]:
        """What times there depend on."""
        ...

    def latency(self, plan: Plan, timeout_s: float | None = None, shown: Shown = iter) -> dict[str, LatencyRecord]:
        """As :func:`edgekd.bench.measure` measures."""
        ...

    def turns(self, turns: Turns) -> Taken:
        """Inferences in turns, with their kernels."""
        ...


class Here:
    """This machine, its CPU or its GPU: subjects say which."""

    def __enter__(self) -> "Here":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def architecture(self) -> str:
        return platform.machine()

    def facts(self, threads: int) -> dict[str, Any]:
        return machine_facts(threads)

    def environment(self) -> dict[str, Any]:
        return fingerprint()

    def latency(self, plan: Plan, timeout_s: float | None = None, shown: Shown = iter) -> dict[str, LatencyRecord]:
        return measure(plan, timeout_s, shown)

    def turns(self, turns: Turns) -> Taken:
        return take(turns)

    def memory(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """Peak memory of each subject, as :func:`edgekd.bench.memory` has it."""
        subjects = plan.subjects.items()
        return {name: memory(subject, plan.threads, plan.batch).to_json() for name, subject in subjects}
