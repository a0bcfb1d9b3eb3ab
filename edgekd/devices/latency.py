"""Latency of ONNX files on a device, measured in launches as :mod:`edgekd.bench.runner` does here."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekd.bench.compare import summarise
from edgekd.bench.environment import busy_warnings, governor_warnings, share_of
from edgekd.bench.plan import Plan
from edgekd.bench.records import LatencyRecord, MeasurementWarning, SessionInfo
from edgekd.bench.runner import Launch, default_timeout_s, sample_warnings, times_of, vs_reference
from edgekd.devices.events import DAY_S, Event, ResponseError, integer, nanoseconds, reading_response, text
from edgekd.devices.events import number as number_of
from edgekd.devices.probe import Probe, probe_remote
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError

CPUS = 1 << 16
TICKS = 1 << 53


def measure_on_device(
    remote: Remote, plan: Plan, timeout_s: float | None = None, probe: Probe | None = None
) -> dict[str, LatencyRecord]:
    """Measure the plan's workloads on the device: files are copied there and timed in turns.

    ``probe`` is what the device is known to be; it is probed if that is left out. There are as many launches as the
    plan says, and no more for narrower intervals. When the connection, the time or the runner ends early, what was
    measured so far counts, with a warning.

    Raises:
        DeviceError: not one launch was finished.
        MeasurementError: a workload is not for ONNX Runtime on a CPU.
    """
    files = copy(remote, plan)
    probe = probe or probe_remote(remote)
    warnings = [*device_warnings(probe), *too_few_cpus(probe, plan.threads)]
    request = {
        "job": "latency", "models": files, "threads": plan.threads, "batch": plan.batch, "seconds": plan.seconds,
        "sittings": plan.launches, "seed": plan.seed, "warmup_s": plan.warmup_s,
        "shapes": {name: workload.shape for name, workload in plan.workloads.items() if workload.shape},
        "sizes": {name: workload.sizes for name, workload in plan.workloads.items() if workload.sizes},
    }  # fmt: skip
    launches: list[Launch] = []
    governors: set[str | None] = set()
    try:
        for event in remote.events(request, timeout_s or default_timeout_s(plan)):
            with reading_response(remote.device.name):
                launches.append(launch_of(event, plan, len(launches)))
                governors.add(governor_of(event))
    except ResponseError:
        raise
    except DeviceError as error:
        if not launches:
            raise
        warnings.insert(0, cut_short_warning(len(launches), plan, error))
    warnings += [warning for each in governors for warning in governor_warnings(each)]
    taken = np.sum([launch.taken for launch in launches], axis=0)
    warnings += busy_warnings(share_of(taken)) if taken.any() else [neighbours_not_seen(remote.device.name)]
    return {name: record(plan, name, launches, warnings) for name in plan.workloads}


def cut_short_warning(launches: int, plan: Plan, why: DeviceError) -> MeasurementWarning:
    return MeasurementWarning("cut_short", f"{launches} of {plan.launches} launches were measured before this: {why}")


def device_warnings(probe: Probe) -> list[MeasurementWarning]:
    """Return what is known of the device that makes its times unreliable."""
    device = probe.device
    warnings = []
    if device.emulated:
        warnings.append(MeasurementWarning("emulated", f"{device.name} is emulated: its times mean nothing"))
    if probe.in_other_mode:
        warnings.append(MeasurementWarning("other_power_mode", f"{device.name}: {probe.in_other_mode}"))
    return warnings


def neighbours_not_seen(device: str) -> MeasurementWarning:
    return MeasurementWarning("neighbours_not_seen", f"what else ran on {device} meanwhile was not looked at")


def too_few_cpus(probe: Probe, threads: int) -> list[MeasurementWarning]:
    cores = probe.facts.cores
    if threads <= cores:
        return []
    message = f"{threads} threads shared {cores} cores: this is not their speed; lower --threads"
    return [MeasurementWarning("too_few_cpus", message)]


def copy(remote: Remote, plan: Plan) -> dict[str, str]:
    """Copy every file once, under a number, and return the file of each workload on the device."""
    there: dict[str, str] = {}
    for workload in plan.workloads.values():
        if (workload.runtime, workload.device) != ("onnxruntime", "cpu"):
            raise MeasurementError(
                f"{workload.model}: {workload.runtime} on {workload.device} is not timed through SSH: ONNX files are, "
                "in ONNX Runtime on the device's CPU and in TensorRT"
            )
        if workload.model not in there:
            there[workload.model] = f"{len(there)}.onnx"
            remote.put(Path(workload.model), there[workload.model])
    return {name: there[workload.model] for name, workload in plan.workloads.items()}


def launch_of(event: Event, plan: Plan, number: int) -> Launch:
    """Parse launch ``number`` of ``plan``; raise ValueError or its like if ``event`` cannot be that."""
    if number >= plan.launches or any(event[key].keys() != plan.workloads.keys() for key in ("rounds", "opened")):
        raise ValueError("a launch that was not requested")
    rounds = {name: [nanoseconds(block) for block in event["rounds"][name]] for name in plan.workloads}
    if len({len(blocks) for blocks in rounds.values()}) != 1 or not next(iter(rounds.values())):
        raise ValueError("rounds without a block of each model")
    opened = {name: session_info(event["opened"][name]) for name in plan.workloads}
    taken = np.array([[number_of(each, "a count of ticks", -TICKS, TICKS) for each in row] for row in event["taken"]])
    if taken.shape != (2, 2):
        raise ValueError(f"ticks in the shape {taken.shape}")
    return Launch(opened, rounds, {name: {} for name in rounds}, taken, 0)


def session_info(event: Event) -> SessionInfo:
    cpus = event["cpus"]
    return SessionInfo(
        load_ms=number_of(event["load_ms"], "the time of loading", 0, DAY_S * 1000),
        first_ms=number_of(event["first_ms"], "the time of the first inference", 0, DAY_S * 1000),
        providers=[text(each, "a provider") for each in event["providers"]],
        batch=integer(event["batch"], "the batch", 1, 1 << 31),
        cpus=None if cpus is None else [integer(cpu, "a CPU", 0, CPUS) for cpu in cpus],
    )


def governor_of(event: Event) -> str | None:
    return None if event["governor"] is None else text(event["governor"], "the governor")


def record(plan: Plan, name: str, launches: Sequence[Launch], warnings: Sequence[MeasurementWarning]) -> LatencyRecord:
    sessions = [launch.opened[name] for launch in launches]
    return LatencyRecord(
        latency_ms=summarise(times_of(launches, name)),
        load_ms=float(np.median([session.load_ms for session in sessions])),
        first_ms=float(np.median([session.first_ms for session in sessions])),
        threads=plan.threads,
        batch=sessions[0].batch,
        cpus=sessions[0].cpus,
        providers=sessions[0].providers,
        raw_ns=[[block.tolist() for block in launch.rounds[name]] for launch in launches],
        latency_vs_reference=vs_reference(plan, launches, name),
        warnings=(*warnings, *sample_warnings(launches, name)),
    )
