"""Targets that plans are timed on: this machine, or a registered device. Both are context managers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from edgekd.bench import LatencyRecord, MemoryRecord, Plan
from edgekd.bench.environment import CpuFacts
from edgekd.bench.interleaved import InterleavedRuns, InterleavedTimes
from edgekd.bench.runner import ProgressHook
from edgekd.bench.target import LocalTarget
from edgekd.devices.latency import interleave_on_device, measure_on_device
from edgekd.devices.predictions import DevicePredictions, Inputs, outputs_on_device, predict_on_device
from edgekd.devices.probe import IDENTIFYING, Probe, probe_remote
from edgekd.devices.registry import LOCAL, Device, find_device
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError
from edgekd.runtime import DEFAULT, RUNTIMES, by_session
from edgekd.tasks.task import Task


@dataclass(frozen=True)
class RemoteEnvironment:
    """A device that times are measured on, as it reports itself."""

    probe: Probe

    @property
    def cpu(self) -> CpuFacts:
        return CpuFacts(self.probe.facts.cpu, self.probe.facts.architecture)

    def to_json(self) -> dict[str, Any]:
        mode = {"power_mode": self.probe.power_mode.name} if self.probe.power_mode else {}
        return {"cpu": self.cpu.to_json(), **mode, "device": self.probe.to_json()}


@dataclass(frozen=True)
class RemoteFacts:
    """Facts that times on a device depend on."""

    probe: Probe
    threads: int

    def to_json(self) -> dict[str, Any]:
        about = {name: self.probe.facts.document.get(name) for name in IDENTIFYING}
        mode = self.probe.power_mode.name if self.probe.power_mode else None
        return {**about, "power_mode": mode, "device": self.probe.device.name, "threads": self.threads}


class RemoteTarget:
    """A device behind SSH, reached through one connection. Its peak memory is not measured.

    ``lock_clocks`` puts a Jetson's clocks to the top of its power mode while TensorRT is timed.
    """

    def __init__(self, device: Device, lock_clocks: bool = False):
        self.remote = Remote(device)
        self.lock_clocks = lock_clocks

    def __enter__(self) -> "RemoteTarget":
        self.remote.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.remote.__exit__(kind, error, trace)

    @cached_property
    def probe(self) -> Probe:
        return probe_remote(self.remote)

    def environment(self) -> RemoteEnvironment:
        return RemoteEnvironment(self.probe)

    def latency(
        self, plan: Plan, timeout_s: float | None = None, progress: ProgressHook = iter
    ) -> dict[str, LatencyRecord]:
        """Time the plan's models on the device.

        ``progress`` is as for :func:`edgekd.bench.measure`.

        Raises:
            MeasurementError: several runtimes in one plan of which one is driven in its own way: they are not timed in
                turns; or clocks locked for other runtimes.
        """
        runtimes = {by_session(workload.runtime) for workload in plan.workloads.values()}
        driven = [each for each in runtimes if each.has("remote")]
        if self.lock_clocks and len(driven) < len(runtimes):
            locked = [each for each in RUNTIMES.values() if each.has("remote")]
            raise MeasurementError(
                f"--lock-clocks is for {' and '.join(each.title for each in locked)}'s times; leave it out, or give "
                f"--runtime {' or '.join(each.name for each in locked)}"
            )
        if not driven:
            return measure_on_device(self.remote, plan, timeout_s, self.probe, progress)
        if len(runtimes) > 1:
            raise MeasurementError(
                f"{driven[0].title} and other runtimes are not timed in turns through SSH: one --runtime each"
            )
        measure = driven[0].part("remote").measure
        found: dict[str, LatencyRecord] = measure(
            self.remote, plan, timeout_s, self.probe, progress, lock_clocks=self.lock_clocks
        )
        return found

    @property
    def architecture(self) -> str:
        return self.probe.facts.architecture

    def facts(self, threads: int) -> RemoteFacts:
        return RemoteFacts(self.probe, threads)

    def interleave(self, turns: InterleavedRuns) -> InterleavedTimes:
        return interleave_on_device(self.remote, turns)

    def predict(
        self, runtime: str, models: Mapping[str, Path], inputs: Inputs, task: Task, threads: int = 1
    ) -> dict[str, DevicePredictions]:
        """Return what each of ``models`` predicts for each of ``inputs`` (N, ...), preprocessed.

        Raises:
            MeasurementError: the runtime cannot be driven for such files there, as TensorRT for several inputs.
        """
        if (found := RUNTIMES.find(runtime)).has("remote"):
            predict = found.part("remote").predict
            predicted: dict[str, DevicePredictions] = predict(self.remote, models, inputs, task, probe=self.probe)
            return predicted
        return predict_on_device(self.remote, runtime, models, inputs, task, threads)

    def outputs(self, model: Path, inputs: Inputs, runtime: str = DEFAULT) -> NDArray[Any]:
        """Return the output ``logits`` (N, ...), or the first, of a file in the device's ``runtime``."""
        return outputs_on_device(self.remote, runtime, model, inputs)

    def memory(self, plan: Plan) -> dict[str, MemoryRecord]:
        """Return nothing: peak memory is measured on this machine alone."""
        return {}


def resolve_target(name: str, lock_clocks: bool = False) -> LocalTarget | RemoteTarget:
    """Return the target called ``name``: ``cpu`` and ``cuda`` are this machine, other names are in the device registry.

    Raises:
        DeviceError: no device is called that, or this machine's clocks were to be locked.
    """
    if name not in LOCAL:
        return RemoteTarget(find_device(name), lock_clocks)
    if lock_clocks:
        raise DeviceError("--lock-clocks is for a Jetson behind SSH; lock this machine's clocks by hand")
    return LocalTarget()
