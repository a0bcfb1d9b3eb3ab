"""Latency and energy of TensorRT engines on a device: every launch runs each engine's ``trtexec`` anew, in turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.agent.blocks import TimedBlock
from edgekd.agent.turns import MIN_ROUNDS
from edgekd.bench.compare import MIN_FOR_P99
from edgekd.bench.energy import PowerSample, energy_j, rail_samples, total_rails
from edgekd.bench.events import Event, integer, nanoseconds, number, text
from edgekd.bench.launch import Launch
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.records import EnergyRecord, LatencyRecord, MeasurementWarning
from edgekd.bench.runner import ProgressHook, default_timeout_s, time_for_each, too_few_samples, vs_reference
from edgekd.bench.surroundings import neighbours_not_seen
from edgekd.devices.jetson.tegrastats import parse_tegrastats
from edgekd.devices.jetson.throttling import clock_warnings, counter_warnings, temperature_warnings
from edgekd.devices.latency import collect_launches, device_warnings
from edgekd.devices.probe import Probe, probe_remote
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError
from edgekd.runtimes.tensorrt.remote.engines import (
    BUILD_S,
    DeviceEngine,
    EngineBuilder,
    RunRequest,
    builder_of,
    engine_of,
    numbered,
    timing_job,
)
from edgekd.runtimes.tensorrt.trtexec.command import EngineTiming, timing_command, written_warmup_ms
from edgekd.runtimes.tensorrt.trtexec.latency import latency_ms, query_warnings
from edgekd.runtimes.tensorrt.trtexec.output import Query, parse_times

TIMES = "times.json"
LINE = 20_000  # letters of tegrastats


@dataclass(frozen=True)
class Run:
    """One timing of an engine, and the board's sensors meanwhile; times in seconds of the device's clock."""

    queries: Sequence[Query]
    began: float | None
    power: Sequence[PowerSample]
    board: Sequence[Any]
    over_current: tuple[Mapping[str, int], Mapping[str, int]]

    @property
    def window(self) -> tuple[float, float] | None:
        """Return start and end of the counted queries, or None; trtexec's times begin with its inferences."""
        if self.began is None or not self.queries:
            return None
        first, last = self.queries[0], self.queries[-1]
        return self.began + first.start / 1000, self.began + (last.start + last.latency) / 1000


class EngineRuns:
    """The runs of engines that an agent sends, put together into launches.

    Attributes:
        launches: the runs of each whole launch, by workload.
        limits_c: the temperatures at which the board's zones throttle it, in degrees Celsius.
    """

    def __init__(self, builder: EngineBuilder):
        self.builder = builder
        self.launches: list[Mapping[str, Run]] = []
        self.limits_c: Mapping[str, float] = {}
        self._begun: dict[str, Run] = {}

    def take(self, event: Event, plan: Plan) -> Launch | None:
        """Keep what ``event`` says; return the launch of ``plan`` that it completes, or None."""
        if event["event"] == "limits":
            self.limits_c = {zone: number(limit, "a limit in °C", -300) for zone, limit in event["limits_c"].items()}
        if event["event"] != "run":
            return None
        if event["model"] not in plan.workloads.keys() - self._begun.keys():
            raise ValueError("a run of another model than was requested")
        self._begun[event["model"]] = parse_run(event, self.builder)
        if len(self._begun) < len(plan.workloads):
            return None
        self.launches.append(self._begun)
        self._begun = {}
        return launch_of_runs(self.launches[-1], plan)


def measure_engines(
    remote: Remote,
    plan: Plan,
    timeout_s: float | None = None,
    probe: Probe | None = None,
    progress: ProgressHook = iter,
    *,
    lock_clocks: bool = False,
) -> dict[str, LatencyRecord]:
    """Measure the plan's workloads as engines, built on the device unless they are cached there, and timed in turns.

    Times are those of the kernels, without copies, in a CUDA graph. ``probe`` is what the device is known to be.
    Launches follow until the results are clear, as on this machine, and pass through ``progress``. ``lock_clocks``
    needs a sudo there that asks for no password; the clocks are restored whatever happens.

    Raises:
        DeviceError: no trtexec there, it refuses a file, or not one launch was finished.
    """
    probe = probe or probe_remote(remote)
    builder = builder_of(probe)
    if lock_clocks and not probe.facts.jetson.sudo:
        raise DeviceError(f"--lock-clocks: sudo asks for a password on {remote.device.name}; lock them by hand there")
    engines, plan = engines_of(builder, plan), in_whole_seconds(plan)
    for path, place in numbered(Path(workload.model) for workload in plan.workloads.values()).items():
        remote.push(path, f"{place}.onnx")
    requested = [run_request(builder, name, engine, plan) for name, engine in engines.items()]
    request = timing_job(engines.values(), requested, plan.seed, lock_clocks)
    limit = timeout_s or BUILD_S * len(engines) + default_timeout_s(plan)
    runs = EngineRuns(builder)
    launches, cut = collect_launches(remote, plan, request, limit, progress, runs.take)
    warnings = [*cut, *device_warnings(probe), neighbours_not_seen()]
    return {name: record(plan, name, runs, launches, engines[name].shape[0], warnings) for name in plan.workloads}


def in_whole_seconds(plan: Plan) -> Plan:
    """Return ``plan`` with launches of whole seconds, which trtexec takes, and with the same limit."""
    each = max(1, round(plan.seconds / plan.launches))
    return replace(plan, seconds=float(each * plan.launches), max_seconds=time_for_each(plan))


def engines_of(builder: EngineBuilder, plan: Plan) -> dict[str, DeviceEngine]:
    numbers = numbered(Path(workload.model) for workload in plan.workloads.values())
    return {
        name: engine_for(builder, workload, numbers[Path(workload.model)], plan.batch)
        for name, workload in plan.workloads.items()
    }


def engine_for(builder: EngineBuilder, workload: Workload, number: int, batch: int) -> DeviceEngine:
    engine = engine_of(builder, Path(workload.model), number, batch)
    if batch not in (1, engine.shape[0]):
        raise MeasurementError(f"{workload.model} fixes its batch at {engine.shape[0]}, not {batch}; leave out --batch")
    if workload.shape not in (None, engine.shape):
        raise MeasurementError(f"{workload.model} takes {engine.shape}, not {workload.shape}; leave out --shape")
    return engine


def run_request(builder: EngineBuilder, name: str, engine: DeviceEngine, plan: Plan) -> RunRequest:
    timing = EngineTiming(
        engine.file,
        TIMES,
        seconds=round(plan.seconds / plan.launches),
        queries=-(-MIN_FOR_P99 // plan.launches),
        shapes=engine.shapes,
    )
    return RunRequest(name, timing_command(builder.trtexec, builder.version, timing), {"times": TIMES})


def parse_run(event: Event, builder: EngineBuilder) -> Run:
    before, after = event["over_current"]
    return Run(
        parse_times(event["files"]["times"], written_warmup_ms(builder.version)),
        None if event["began"] is None else number(event["began"], "the moment of the first inference"),
        rail_samples(event["rails"]),
        [parse_tegrastats(text(line, "a line of tegrastats")[:LINE]) for _, line in event["tegrastats"]],
        (counts_of(before), counts_of(after)),
    )


def counts_of(event: Event) -> dict[str, int]:
    return {name: integer(count, f"the counter {name}") for name, count in event.items()}


def launch_of_runs(runs: Mapping[str, Run], plan: Plan) -> Launch:
    """Return a launch whose queries are split into as many parts as make thirty rounds of all the plan's launches."""
    parts = -(-MIN_ROUNDS // plan.launches)
    return Launch({}, {name: parted(run, parts) for name, run in runs.items()}, {}, np.zeros((2, 2)))


def parted(run: Run, parts: int) -> list[TimedBlock]:
    if len(run.queries) < parts:
        raise MeasurementError(f"trtexec timed {len(run.queries)} queries: give more --seconds")
    times = nanoseconds([round(query.compute * 1e6) for query in run.queries])
    return [TimedBlock(part.tolist()) for part in np.array_split(times, parts)]


def record(
    plan: Plan,
    name: str,
    runs: EngineRuns,
    launches: Sequence[Launch],
    batch: int,
    warnings: Sequence[MeasurementWarning],
) -> LatencyRecord:
    own = [launch[name] for launch in runs.launches]
    queries = [query for run in own for query in run.queries]
    return LatencyRecord(
        latency_ms=latency_ms(queries),
        load_ms=None,
        first_ms=None,
        threads=plan.threads,
        batch=batch,
        providers=[runs.builder.name],
        raw_ns=[[list(block.ns) for block in launch.rounds[name]] for launch in launches],
        runtime="tensorrt",
        device="cuda",
        latency_vs_reference=vs_reference(plan, launches, name),
        energy=energy_of(own),
        warnings=(
            *warnings,
            *too_few_samples(launches, name),
            *query_warnings(queries),
            *throttling(own, runs.limits_c),
        ),
    )


def energy_of(runs: Sequence[Run]) -> EnergyRecord | None:
    """Return the energy of one inference over the runs whose power was sampled from end to end.

    It is None if there are none, or if no rail is known to be the whole module's.
    """
    joules, seconds, inferences = 0.0, 0.0, 0
    rails: tuple[str, ...] = ()
    for run in runs:
        try:
            rails = total_rails(run.power[0][1] if run.power else ())
            start, end = run.window or (0.0, 0.0)
            joules += energy_j(run.power, start, end, rails)
        except MeasurementError:
            continue
        seconds, inferences = seconds + end - start, inferences + len(run.queries)
    if not inferences:
        return None
    return EnergyRecord(joules / inferences, joules / seconds, rails, inferences)


def throttling(runs: Sequence[Run], limits: Mapping[str, float]) -> list[MeasurementWarning]:
    if not runs:
        return []
    board = [sample for run in runs for sample in run.board]
    counted = counter_warnings(runs[0].over_current[0], runs[-1].over_current[1])
    return [*counted, *temperature_warnings(board, limits), *clock_warnings(board)]
