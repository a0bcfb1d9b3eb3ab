"""Measurement plans run on this machine: in each launch every model has a fresh process, and they take turns."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekd.bench.clock import is_steady
from edgekd.bench.compare import MIN_ROUNDS, Rounds, runs_per_block, summarise, take_turns
from edgekd.bench.cpus import quietest
from edgekd.bench.environment import (
    Neighbours,
    busy_warnings,
    governor,
    governor_warnings,
    share_of,
    throttle_events,
    throttle_warnings,
    usable_cpus,
)
from edgekd.bench.plan import Plan
from edgekd.bench.records import LatencyRatio, LatencyRecord, LatencySummary, MeasurementWarning, SessionInfo
from edgekd.bench.worker import TimeLimit, TimeLimitError, Worker
from edgekd.errors import MeasurementError
from edgekd.ranges import POSITIVE
from edgekd.stats.percentiles import percentile_interval, relative_spread
from edgekd.stats.ratios import MIN_LAUNCHES, ratio_over_launches, stretched

WIDE = 0.1
DRIFT = 0.05
LONGEST = 4
GROWTH = 1.5
# Results are checked after several launches, and each check is one more chance to be wrong: stopping early takes a
# higher confidence than reporting does.
STOPPING_CONFIDENCE = 0.99


@dataclass(frozen=True)
class Launch:
    """Results of one launch, by workload: its session, its rounds and copies; and what else the machine did."""

    opened: dict[str, SessionInfo]
    rounds: dict[str, Rounds]
    transfers: dict[str, dict[str, list[int]]]
    taken: np.ndarray[Any, Any]
    throttle_events: int


ProgressHook = Callable[[Iterator[Launch]], Iterable[Launch]]


def measure(plan: Plan, timeout_s: float | None = None, progress: ProgressHook = iter) -> dict[str, LatencyRecord]:
    """Measure the plan's workloads on this machine, and their ratios to the reference.

    ``progress`` receives the launches as they are finished and passes them on, for a progress bar. When ``timeout_s``
    is over after the first launch, what was measured so far counts.

    Raises:
        MeasurementError: a model does not load or run, a process dies, or there is no launch within ``timeout_s``.
    """
    POSITIVE.check(MeasurementError, timeout_s=timeout_s)
    limit = TimeLimit(timeout_s or default_timeout_s(plan))
    launches = list(progress(run_launches(plan, quietest(plan.threads), limit)))
    return {name: record(plan, name, launches) for name in plan.workloads}


def run_launches(plan: Plan, cpus: Sequence[int], limit: TimeLimit) -> Iterator[Launch]:
    """Run launches until the results are clear, the plan's time is spent or ``limit`` is over."""
    launches: list[Launch] = []
    wanted = plan.launches
    while True:
        while len(launches) < wanted:
            try:
                launches.append(run_launch(plan, cpus, len(launches), limit))
            except TimeLimitError:
                if not launches:
                    raise
                return
            yield launches[-1]
        if is_enough(plan, launches):
            return
        wanted = min(round(GROWTH * wanted), wanted + affordable(plan, launches))


def default_timeout_s(plan: Plan) -> float:
    """Return a limit well past the worst case: overtime, warm-up, and loading from a slow disk."""
    return 60 + len(plan.workloads) * (60 + 2 * LONGEST * time_for_each(plan))


def time_for_each(plan: Plan) -> float:
    return plan.max_seconds or LONGEST * plan.seconds


def run_launch(plan: Plan, cpus: Sequence[int], number: int, limit: TimeLimit) -> Launch:
    with workers(plan, cpus, limit) as candidates:
        opened = load_all(plan, candidates)
        runs = {name: runs_per_block(worker.warm_up(plan.warmup_s)) for name, worker in candidates.items()}
        neighbours = Neighbours([worker.pid for worker in candidates.values()], cpus)
        throttled = throttle_events()
        rounds = take_turns(
            candidates,
            runs,
            plan.seconds / plan.launches,
            -(-MIN_ROUNDS // plan.launches),
            np.random.default_rng([plan.seed, number]),
        )
        taken, events = neighbours.taken(), throttle_events() - throttled
        transfers = {name: worker.call("transfers", seconds=plan.warmup_s) for name, worker in candidates.items()}
    return Launch(opened, rounds, transfers, taken, events)


@contextmanager
def workers(plan: Plan, cpus: Sequence[int], limit: TimeLimit) -> Iterator[dict[str, Worker]]:
    with ExitStack() as stack:
        started = {name: stack.enter_context(Worker(name, plan.threads, limit)) for name in plan.workloads}
        for name, worker in started.items():
            worker.send("prepare", runtime=plan.workloads[name].runtime, cpus=list(cpus))
        for worker in started.values():
            worker.receive("prepare")
        yield started


def load_all(plan: Plan, candidates: Mapping[str, Worker]) -> dict[str, SessionInfo]:
    """Load the workloads one after the other: loading is timed too."""
    opened = {
        name: SessionInfo(
            **worker.call(
                "open", workload=plan.workloads[name].to_json(), threads=plan.threads, batch=plan.batch, seed=plan.seed
            )
        )
        for name, worker in candidates.items()
    }
    if len({session.batch for session in opened.values()}) > 1:
        batches = ", ".join(f"{name} {session.batch}" for name, session in opened.items())
        raise MeasurementError(f"the files fix different batches ({batches}); time them apart, or export them alike")
    return opened


def is_enough(plan: Plan, launches: Sequence[Launch]) -> bool:
    if affordable(plan, launches) < 1:
        return True
    return all(
        is_narrow(times_of(launches, name), plan.width) and is_decided(plan, launches, name) for name in plan.workloads
    )


def affordable(plan: Plan, launches: Sequence[Launch]) -> int:
    """Return how many more launches ``max_seconds`` has room for."""
    return round((time_for_each(plan) / plan.seconds) * plan.launches) - len(launches)


def is_narrow(times: np.ndarray[Any, Any], width: float) -> bool:
    interval = percentile_interval(times, 0.5)
    return interval is not None and interval[1] - interval[0] <= width * float(np.median(times))


def is_decided(plan: Plan, launches: Sequence[Launch], name: str) -> bool:
    if plan.reference in (None, name):
        return True
    value, interval = ratio(plan, launches, name)
    if interval is None:
        return False
    low, high = stretched(value, interval, len(launches), STOPPING_CONFIDENCE)
    excluded = not low <= plan.question <= high
    near = plan.question * (1 - plan.resolution), plan.question * (1 + plan.resolution)
    return excluded or (near[0] <= low and high <= near[1])


def ratio(plan: Plan, launches: Sequence[Launch], name: str) -> tuple[float, tuple[float, float] | None]:
    assert plan.reference is not None
    ours, theirs = ([launch.rounds[one] for launch in launches] for one in (name, plan.reference))
    return ratio_over_launches(ours, theirs, plan.seed)


def times_of(launches: Sequence[Launch], name: str) -> np.ndarray[Any, Any]:
    return np.concatenate([block for launch in launches for block in launch.rounds[name]])


def record(plan: Plan, name: str, launches: Sequence[Launch]) -> LatencyRecord:
    sessions = [launch.opened[name] for launch in launches]
    workload, first = plan.workloads[name], sessions[0]
    return LatencyRecord(
        latency_ms=summarise(times_of(launches, name)),
        latency_vs_reference=vs_reference(plan, launches, name),
        load_ms=float(np.median([session.load_ms for session in sessions])),
        first_ms=float(np.median([session.first_ms for session in sessions])),
        transfers_ms=transfers_of(launches, name),
        runtime=workload.runtime,
        device=workload.device,
        threads=plan.threads,
        batch=first.batch,
        cpus=first.cpus,
        providers=first.providers,
        raw_ns=[[block.tolist() for block in launch.rounds[name]] for launch in launches],
        warnings=(
            *machine_warnings(plan.threads),
            *time_limit_warnings(plan, launches),
            *surroundings_warnings(launches),
            *sample_warnings(launches, name),
        ),
    )


def vs_reference(plan: Plan, launches: Sequence[Launch], name: str) -> LatencyRatio | None:
    """Return the ratio to the plan's reference, or None for the reference itself."""
    return None if plan.reference in (None, name) else LatencyRatio(*ratio(plan, launches, name))


def transfers_of(launches: Sequence[Launch], name: str) -> dict[str, LatencySummary] | None:
    ways = launches[0].transfers[name]
    if not ways:
        return None
    return {way: summarise(np.concatenate([launch.transfers[name][way] for launch in launches])) for way in ways}


def machine_warnings(threads: int) -> list[MeasurementWarning]:
    warnings = governor_warnings(governor())
    if threads > usable_cpus():
        message = f"{threads} threads shared {usable_cpus()} CPUs: this is not their speed; lower --threads"
        warnings.append(MeasurementWarning("too_few_cpus", message))
    return warnings


def time_limit_warnings(plan: Plan, launches: Sequence[Launch]) -> list[MeasurementWarning]:
    if len(launches) >= plan.launches:
        return []
    few = f", and a ratio has no interval under {MIN_LAUNCHES}" if len(launches) < MIN_LAUNCHES else ""
    message = f"the time limit left {len(launches)} of {plan.launches} launches{few}; raise --timeout"
    return [MeasurementWarning("time_limit", message)]


def surroundings_warnings(launches: Sequence[Launch]) -> list[MeasurementWarning]:
    """Warn of what else the machine did, in all launches together: one is too short for the kernel's ticks."""
    share = share_of(np.sum([launch.taken for launch in launches], axis=0))
    return busy_warnings(share) + throttle_warnings(sum(launch.throttle_events for launch in launches))


def sample_warnings(launches: Sequence[Launch], name: str) -> list[MeasurementWarning]:
    blocks = [block for launch in launches for block in launch.rounds[name]]
    warnings = []
    if len(blocks) < MIN_ROUNDS:
        message = f"{len(blocks)} rounds in the time given, {MIN_ROUNDS} are needed; give more --seconds"
        warnings.append(MeasurementWarning("too_few_samples", message))
    spread = relative_spread(np.concatenate(blocks))
    if spread > WIDE:
        message = f"the middle half of the runs spreads over {spread:.0%} of the median: no quiet machine"
        warnings.append(MeasurementWarning("wide_spread", message))
    if not is_steady(np.array([np.median(block) for block in blocks]), DRIFT):
        message = f"the last third of the rounds differs by over {DRIFT:.0%} from the third before it"
        warnings.append(MeasurementWarning("not_steady", message))
    return warnings
