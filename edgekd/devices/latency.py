"""Times of model files on a device, measured by the agent there as :mod:`edgekd.bench.runner` does here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd.bench.events import ResponseError, reading_response
from edgekd.bench.interleaved import InterleavedRuns, InterleavedTimes, interleaved_times
from edgekd.bench.interleaved import request_of as interleaving_request
from edgekd.bench.launch import Launch, launch_of
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.records import LatencyRecord, MeasurementWarning
from edgekd.bench.runner import (
    LaunchParser,
    ProgressHook,
    default_timeout_s,
    record,
    request_of,
    run_launches,
    time_limit_warnings,
)
from edgekd.bench.runtimes import session_place
from edgekd.bench.surroundings import too_few_cpus
from edgekd.devices.probe import Probe, probe_remote
from edgekd.devices.remote import Remote
from edgekd.devices.ssh_errors import DeviceTimeError
from edgekd.errors import DeviceError, MeasurementError
from edgekd.runtime import RUNTIMES, by_session

INTERLEAVING_S = 600.0


def measure_on_device(
    remote: Remote,
    plan: Plan,
    timeout_s: float | None = None,
    probe: Probe | None = None,
    progress: ProgressHook = iter,
) -> dict[str, LatencyRecord]:
    """Measure the plan's workloads on the device: files are copied there and timed in turns.

    ``probe`` is what the device is known to be; it is probed if that is left out. Launches follow until the results
    are clear, and pass through ``progress``, as here. When the connection, the time or the agent ends early, what was
    measured so far counts, with a warning.

    Raises:
        DeviceError: not one launch was finished.
        MeasurementError: a workload is for another runtime than those that run there, or not for the CPU.
    """
    models = push_models(remote, plan)
    probe = probe or probe_remote(remote)
    limit = timeout_s or default_timeout_s(plan)
    launches, cut = collect_launches(remote, plan, request_of(plan, models), limit, progress)
    warnings = [*cut, *device_warnings(probe), *too_few_cpus(plan.threads, probe.facts.cores)]
    return {name: record(plan, name, launches, warnings) for name in plan.workloads}


def collect_launches(
    remote: Remote,
    plan: Plan,
    request: Mapping[str, object],
    timeout_s: float,
    progress: ProgressHook = iter,
    parse: LaunchParser = launch_of,
) -> tuple[list[Launch], list[MeasurementWarning]]:
    """Collect launches from the job ``request`` until the results are clear, and warn if something ended it early.

    Raises:
        DeviceError: not one launch was finished.
    """
    launches: list[Launch] = []
    with remote.job(request, timeout_s) as job:
        try:
            for launch in progress(run_launches(plan, job, remote.device.name, parse)):
                launches.append(launch)
        except ResponseError:
            raise
        except DeviceError as error:
            if not launches:
                raise
            return launches, cut_short_warnings(len(launches), plan, error)
    return launches, []


def push_models(remote: Remote, plan: Plan) -> dict[str, dict[str, Any]]:
    """Copy every file once, under a number, and return the session and the workload of each model on the device."""
    there: dict[str, str] = {}
    models = {}
    for name, workload in plan.workloads.items():
        file = there.setdefault(workload.model, f"{len(there)}.onnx")
        models[name] = model_there(workload, file)
    for local, file in there.items():
        remote.push(Path(local), file)
    return models


def model_there(workload: Workload, file: str) -> dict[str, Any]:
    """Return the session and the workload of a model for an agent on a device, where its file is called ``file``.

    Raises:
        MeasurementError: its runtime has no sessions that are taken to a device, or it is not for the CPU.
    """
    runtime = by_session(workload.runtime)
    if "session" not in runtime.shipped or workload.device != "cpu":
        known = " and ".join(each.title for each in RUNTIMES.values() if "session" in each.shipped)
        driven = [each.title for each in RUNTIMES.values() if each.has("remote")]
        raise MeasurementError(
            f"{workload.model}: {workload.runtime} on {workload.device} is not timed through SSH: ONNX files are, "
            f"in {known} on the device's CPU and in {', '.join(driven)}"
        )
    return {"session": session_place(workload.runtime), "workload": {**workload.to_json(), "model": file}}


def cut_short_warnings(launches: int, plan: Plan, why: DeviceError) -> list[MeasurementWarning]:
    """Warn of a measurement that ended after so many launches: by its time limit, or by whatever went wrong."""
    if isinstance(why, DeviceTimeError):
        return time_limit_warnings(plan, launches)
    message = f"{launches} of {plan.launches} launches were measured before this: {why}"
    return [MeasurementWarning("cut_short", message)]


def device_warnings(probe: Probe) -> list[MeasurementWarning]:
    """Return what is known of the device that makes its times unreliable."""
    device = probe.device
    warnings = []
    if device.emulated:
        warnings.append(MeasurementWarning("emulated", f"{device.name} is emulated: its times mean nothing"))
    if probe.in_other_mode:
        warnings.append(MeasurementWarning("other_power_mode", f"{device.name}: {probe.in_other_mode}"))
    return warnings


def interleave_on_device(remote: Remote, turns: InterleavedRuns, timeout_s: float = INTERLEAVING_S) -> InterleavedTimes:
    """Run the inferences on the device, as :func:`edgekd.bench.interleaved.interleave_here` does here.

    Raises:
        DeviceError: a model does not load or run there, or the connection or the time ended first.
    """
    names = {path: f"{number}.onnx" for number, path in enumerate(dict.fromkeys(turns.models.values()))}
    for path, name in names.items():
        remote.push(path, name)
    optimised = {name: f"optimised-{name}.onnx" for name in turns.optimised}
    recorded = {name: f"profile-{name}" for name in turns.recorded}
    files = {name: names[path] for name, path in turns.models.items()}
    events = list(remote.events(interleaving_request(turns, files, recorded, optimised), timeout_s))
    if not events:
        raise DeviceError(f"{remote.device.name} sent no times; try again")
    for name, path in turns.optimised.items():
        remote.pull(optimised[name], path)
    with reading_response(remote.device.name):
        return interleaved_times(events[0], turns)
