"""Latency of ONNX files on a device: the sittings of :mod:`edgekd.bench.conduct`, held there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.bench.caution import Caution
from edgekd.bench.compare import summarise
from edgekd.bench.conduct import Sitting, against_reference, longest, ratio, sample_cautions, times_of
from edgekd.bench.environment import busy_cautions, governor_cautions, share_of
from edgekd.bench.plan import Plan
from edgekd.bench.records import LatencyRecord
from edgekd.devices.events import DAY_S, AnswerError, answers_of, nanoseconds, text, whole
from edgekd.devices.events import number as number_of
from edgekd.devices.probe import Probe, probed
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError

CPUS = 1 << 16
TICKS = 1 << 53


def measure_there(
    remote: Remote, plan: Plan, timeout_s: float | None = None, found: Probe | None = None
) -> dict[str, LatencyRecord]:
    """A record of each subject of ``plan``, whose files are copied to the device and timed there in turns.

    ``found`` is what the device said of itself; it is asked where that is left out.

    The number of sittings is that of the plan; none are added for narrower intervals. When the connection, the time
    or the runner ends early, what was measured so far counts, with a warning that says so.

    Raises:
        DeviceError: not one sitting was finished.
        MeasurementError: a subject is not for ONNX Runtime on a CPU.
    """
    files = copy(remote, plan)
    found = found or probed(remote)
    doubts = [*cautions_of(found), *too_few(found, plan.threads)]
    request = {
        "job": "latency", "models": files, "threads": plan.threads, "batch": plan.batch, "seconds": plan.seconds,
        "sittings": plan.sittings, "seed": plan.seed, "warmup_s": plan.warmup_s,
        "shapes": {name: subject.shape for name, subject in plan.subjects.items() if subject.shape},
    }  # fmt: skip
    sittings: list[Sitting] = []
    governors: set[str | None] = set()
    try:
        for event in remote.events(request, timeout_s or longest(plan)):
            with answers_of(remote.device.name):
                sittings.append(sitting_of(event, plan, len(sittings)))
                governors.add(governor_of(event))
    except AnswerError:
        raise
    except DeviceError as error:
        if not sittings:
            raise
        doubts.insert(0, cut_short(len(sittings), plan, error))
    doubts += [caution for each in governors for caution in governor_cautions(each)]
    taken = np.sum([sitting.taken for sitting in sittings], axis=0)
    doubts += busy_cautions(share_of(taken)) if taken.any() else [not_seen(remote.device.name)]
    return {name: record(plan, name, sittings, doubts) for name in plan.subjects}


def cut_short(sittings: int, plan: Plan, why: DeviceError) -> Caution:
    return Caution("cut_short", f"{sittings} of {plan.sittings} sittings were measured before this: {why}")


def cautions_of(found: Probe) -> list[Caution]:
    """What the device says of itself that makes its times doubtful."""
    device = found.device
    cautions = []
    if device.emulated:
        cautions.append(Caution("emulated", f"{device.name} is emulated: its times mean nothing"))
    if found.in_other_mode:
        cautions.append(Caution("other_power_mode", f"{device.name}: {found.in_other_mode}"))
    return cautions


def not_seen(device: str) -> Caution:
    return Caution("neighbours_not_seen", f"what else ran on {device} meanwhile was not looked at")


def too_few(found: Probe, threads: int) -> list[Caution]:
    cores = found.facts["cores"]
    if threads <= cores:
        return []
    message = f"{threads} threads shared {cores} cores: this is not their speed; lower --threads"
    return [Caution("too_few_cpus", message)]


def copy(remote: Remote, plan: Plan) -> dict[str, str]:
    """Every file once, under a name of our own: what it is called here is nothing to the device."""
    there: dict[str, str] = {}
    for subject in plan.subjects.values():
        if (subject.runtime, subject.device) != ("onnxruntime", "cpu"):
            raise MeasurementError(
                f"{subject.model}: {subject.runtime} on {subject.device} is not timed through SSH: ONNX files are, in "
                "ONNX Runtime on the device's CPU and in TensorRT"
            )
        if subject.model not in there:
            there[subject.model] = f"{len(there)}.onnx"
            remote.put(Path(subject.model), there[subject.model])
    return {name: there[subject.model] for name, subject in plan.subjects.items()}


def sitting_of(event: dict[str, Any], plan: Plan, number: int) -> Sitting:
    """Raises ValueError and its like where ``event`` cannot be sitting ``number`` of ``plan``."""
    if number >= plan.sittings or any(event[key].keys() != plan.subjects.keys() for key in ("rounds", "opened")):
        raise ValueError("a sitting that was not asked for")
    rounds = {name: [nanoseconds(block) for block in event["rounds"][name]] for name in plan.subjects}
    if len({len(blocks) for blocks in rounds.values()}) != 1 or not next(iter(rounds.values())):
        raise ValueError("rounds without a block of each model")
    opened = {name: opened_of(event["opened"][name]) for name in plan.subjects}
    taken = np.array([[number_of(each, "a count of ticks", -TICKS, TICKS) for each in row] for row in event["taken"]])
    if taken.shape != (2, 2):
        raise ValueError(f"ticks in the shape {taken.shape}")
    return Sitting(opened, rounds, {name: {} for name in rounds}, taken, 0)


def opened_of(event: dict[str, Any]) -> dict[str, Any]:
    cpus = event["cpus"]
    return {
        "load_ms": number_of(event["load_ms"], "the time of loading", 0, DAY_S * 1000),
        "first_ms": number_of(event["first_ms"], "the time of the first inference", 0, DAY_S * 1000),
        "batch": whole(event["batch"], "the batch", 1, 1 << 31),
        "cpus": None if cpus is None else [whole(cpu, "a CPU", 0, CPUS) for cpu in cpus],
        "providers": [text(each, "a provider") for each in event["providers"]],
    }


def governor_of(event: dict[str, Any]) -> str | None:
    return None if event["governor"] is None else text(event["governor"], "the governor")


def record(plan: Plan, name: str, sittings: Sequence[Sitting], doubts: Sequence[Caution]) -> LatencyRecord:
    opened = [sitting.opened[name] for sitting in sittings]
    first = LatencyRecord(
        latency_ms=summarise(times_of(sittings, name)),
        load_ms=float(np.median([one["load_ms"] for one in opened])),
        first_ms=float(np.median([one["first_ms"] for one in opened])),
        threads=plan.threads,
        batch=opened[0]["batch"],
        cpus=opened[0]["cpus"],
        providers=opened[0]["providers"],
        raw_ns=[[block.tolist() for block in sitting.rounds[name]] for sitting in sittings],
        warnings=(*doubts, *sample_cautions(sittings, name)),
    )
    if plan.reference in (None, name):
        return first
    return replace(first, latency_vs_reference=against_reference(*ratio(plan, sittings, name)))
