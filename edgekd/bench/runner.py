"""Measurement plans carried out by an agent: launches until the results are clear, and what they come to."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

import numpy as np

from edgekd.agent.clock import is_steady
from edgekd.agent.cpus import usable_cpus
from edgekd.agent.turns import MIN_ROUNDS
from edgekd.bench.compare import summarise
from edgekd.bench.energy import mean_energy
from edgekd.bench.events import Event, reading_response
from edgekd.bench.launch import Launch, launch_of
from edgekd.bench.local_agent import AgentJob, LocalJob, TimeLimitError
from edgekd.bench.plan import Plan
from edgekd.bench.records import (
    ClockRecord,
    CostSummary,
    LatencyRatio,
    LatencyRecord,
    LatencySummary,
    MeasurementWarning,
)
from edgekd.bench.runtimes import session_place
from edgekd.bench.surroundings import surroundings_warnings, too_few_cpus
from edgekd.bench.undisturbed import MOST_TAKEN, Samples, costs, paired_costs, taken_share
from edgekd.bench.validity import OTHERS_TOOK_TIME
from edgekd.errors import MeasurementError
from edgekd.machine_lock import timing
from edgekd.ranges import POSITIVE
from edgekd.stats.percentiles import percentile, percentile_interval, relative_spread
from edgekd.stats.ratios import MIN_LAUNCHES, ratio_over_launches, stretched, widened

WIDE = 0.1
DRIFT = 0.05
LONGEST = 4
GROWTH = 1.5
# Rounds of which others took too much do not count; with fewer than these a cost is not measured.
MIN_COUNTED_ROUNDS = MIN_ROUNDS // 2
# Results are checked after several launches, and each check is one more chance to be wrong: stopping early takes a
# higher confidence than reporting does.
STOPPING_CONFIDENCE = 0.99
# Launches in a row do not show all that the same two files differ by from one sitting to another, and others that take
# processors leave caches cold. Standard deviations of what is left, of a ratio's logarithm, always and for the share
# of the time that others took (benchmarks/harness/self_comparison.py).
BETWEEN_SITTINGS, WITH_OTHERS = 0.005, 0.01
HERE = "this machine"

ProgressHook = Callable[[Iterator[Launch]], Iterable[Launch]]
# Reads an event of an agent; returns the launch that it completes, or None.
LaunchParser = Callable[[Event, Plan], Launch | None]


def measure(plan: Plan, timeout_s: float | None = None, progress: ProgressHook = iter) -> dict[str, LatencyRecord]:
    """Measure the plan's workloads on this machine, and their ratios to the reference.

    ``progress`` receives the launches as they are finished and passes them on, for a progress bar. When ``timeout_s``
    is over after the first launch, what was measured so far counts. Waiting for other processes is a part of it.

    Raises:
        MeasurementError: a model does not load or run, a process dies, or there is no launch within ``timeout_s``.
    """
    POSITIVE.check(MeasurementError, timeout_s=timeout_s)
    models = {
        name: {"session": session_place(each.runtime), "workload": each.to_json()}
        for name, each in plan.workloads.items()
    }
    launches: list[Launch] = []
    asked = monotonic()
    with timing(timeout_s):
        limit, waited = (default_timeout_s(plan), 0.0) if timeout_s is None else (timeout_s, monotonic() - asked)
        with LocalJob(request_of(plan, models), limit, waited) as job:
            try:
                for launch in progress(run_launches(plan, job, HERE)):
                    launches.append(launch)
            except TimeLimitError:
                if not launches:
                    raise
    machine = [*too_few_cpus(plan.threads, len(usable_cpus())), *time_limit_warnings(plan, len(launches))]
    return {name: record(plan, name, launches, machine) for name in plan.workloads}


def request_of(plan: Plan, models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the plan as an agent's job; ``models`` name the session and the workload of each."""
    return {
        **{
            "job": "edgekd.agent.launches:run_launches",
            "models": models,
            "threads": plan.threads,
            "batch": plan.batch,
            "seed": plan.seed,
        },
        **{"warmup_s": plan.warmup_s, "seconds": plan.seconds / plan.launches},
        **{"rounds": -(-MIN_ROUNDS // plan.launches), "power": plan.power},
    }


def run_launches(plan: Plan, job: AgentJob, machine: str, parse: LaunchParser = launch_of) -> Iterator[Launch]:
    """Yield launches until the results are clear or the plan's time is spent, and tell the agent whether to go on."""
    launches: list[Launch] = []
    wanted = plan.launches
    for event in job:
        with reading_response(machine):
            launch = parse(event, plan)
            if launch is None:
                continue
            if len(launches) == wanted:
                raise ValueError("a launch that was not requested")
            launches.append(launch)
        check_batches(launches[-1])
        if len(launches) == wanted and not is_enough(plan, launches):
            wanted = min(round(GROWTH * wanted), wanted + affordable(plan, launches))
        job.send({"more": len(launches) < wanted})
        yield launches[-1]


def check_batches(launch: Launch) -> None:
    if len({session.batch for session in launch.opened.values()}) > 1:
        batches = ", ".join(f"{name} {session.batch}" for name, session in launch.opened.items())
        raise MeasurementError(f"the files fix different batches ({batches}); time them apart, or export them alike")


def default_timeout_s(plan: Plan) -> float:
    """Return a limit well past the worst case: overtime, warm-up, and loading from a slow disk."""
    return 60 + len(plan.workloads) * (60 + 2 * LONGEST * time_for_each(plan))


def time_for_each(plan: Plan) -> float:
    return plan.max_seconds or LONGEST * plan.seconds


def is_enough(plan: Plan, launches: Sequence[Launch]) -> bool:
    if affordable(plan, launches) < 1:
        return True
    return all(
        sum(len(launch.costing[name]) for launch in launches) >= MIN_ROUNDS
        and is_counted(plan, launches, name)
        and is_narrow(np.concatenate(costs_of(launches, name)), plan.width)
        and is_decided(plan, launches, name)
        for name in plan.workloads
    )


def is_counted(plan: Plan, launches: Sequence[Launch], name: str) -> bool:
    """Tell whether others left enough rounds alone; where they did not, a quiet moment may come."""
    counted = counted_rounds(plan, launches, name)
    enough = min(MIN_COUNTED_ROUNDS, sum(len(launch.costing[name]) for launch in launches))
    return (
        most_taken(plan, launches, name) <= MOST_TAKEN
        and sum(counted) >= enough
        and sum(map(bool, counted)) >= min(plan.launches, MIN_LAUNCHES, len(launches))
    )


def counted_rounds(plan: Plan, launches: Sequence[Launch], name: str) -> list[int]:
    """Return the rounds of each launch that count for ``name`` and, where there is one, for its reference too.

    A ratio is of rounds that both share: enough rounds of each, of which few are the same, are not enough for it.
    """
    return [len(ours) for ours, _ in pairs_of(launches, name, plan.reference or name)]


def most_taken(plan: Plan, launches: Sequence[Launch], name: str) -> float:
    compared = {name, plan.reference or name}
    return max(taken_share(block for launch in launches for block in launch.costing[each]) for each in compared)


def pairs_of(launches: Sequence[Launch], name: str, other: str) -> list[tuple[list[Samples], list[Samples]]]:
    return [paired_costs(launch.costing[name], launch.costing[other]) for launch in launches]


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
    least, most = widened(value, (low, high), uncertainty_of(plan, launches, name), STOPPING_CONFIDENCE)
    excluded = not least <= plan.question <= most
    near = plan.question * (1 - plan.resolution), plan.question * (1 + plan.resolution)
    return excluded or (near[0] <= low and high <= near[1])


def ratio(plan: Plan, launches: Sequence[Launch], name: str) -> tuple[float, tuple[float, float] | None]:
    """Return the ratio of the costs of ``name`` and of the reference, over launches with rounds that count for both.

    Its interval is of this sitting alone, which more launches narrow.
    """
    assert plan.reference is not None
    known = [(ours, theirs) for ours, theirs in pairs_of(launches, name, plan.reference) if ours]
    return ratio_over_launches([ours for ours, _ in known], [theirs for _, theirs in known], plan.seed)


def times_of(launches: Sequence[Launch], name: str) -> np.ndarray[Any, Any]:
    return np.concatenate([block.ns for launch in launches for block in launch.rounds[name]])


def costs_of(launches: Sequence[Launch], name: str) -> list[np.ndarray[Any, Any]]:
    return [times for launch in launches for times in costs(launch.costing[name])]


def record(
    plan: Plan, name: str, launches: Sequence[Launch], machine: Sequence[MeasurementWarning] = ()
) -> LatencyRecord:
    """Return what ``launches`` say of a workload; ``machine`` are the warnings of where they ran and why they ended."""
    sessions = [launch.opened[name] for launch in launches]
    workload, first = plan.workloads[name], sessions[0]
    return LatencyRecord(
        latency_ms=summarise(times_of(launches, name)),
        cost_ms=cost(launches, name),
        latency_vs_reference=vs_reference(plan, launches, name),
        load_ms=float(np.median([session.load_ms for session in sessions])),
        first_ms=float(np.median([session.first_ms for session in sessions])),
        transfers_ms=transfers_of(launches, name),
        energy=mean_energy([launch.power for launch in launches if launch.power], name),
        clock_mhz=clock(launches, name),
        runtime=workload.runtime,
        device=workload.device,
        threads=plan.threads,
        batch=first.batch,
        cpus=first.cpus,
        providers=first.providers,
        raw_ns=[[list(block.ns) for block in launch.rounds[name]] for launch in launches],
        warnings=(
            *machine,
            *surroundings_warnings(launches),
            *sample_warnings(launches, name),
            *counted_warnings(plan, launches, name),
        ),
    )


def cost(launches: Sequence[Launch], name: str) -> CostSummary | None:
    """Return the cost of an inference, or None if others left no round of which it can be told."""
    blocks = costs_of(launches, name)
    if not blocks:
        return None
    times = np.concatenate(blocks) / 1e6
    return CostSummary(
        p50=percentile(times, 0.5),
        ci95_p50=percentile_interval(times, 0.5),
        rounds=len(blocks),
        of=sum(len(launch.costing[name]) for launch in launches),
        taken=taken_share(block for launch in launches for block in launch.rounds[name]),
        real_time=any(launch.shielded is not None for launch in launches),
    )


def vs_reference(plan: Plan, launches: Sequence[Launch], name: str) -> LatencyRatio | None:
    """Return the ratio to the plan's reference; None for the reference itself, and where no round counts for both."""
    if plan.reference in (None, name) or not any(counted_rounds(plan, launches, name)):
        return None
    value, interval = ratio(plan, launches, name)
    return LatencyRatio(value, interval and widened(value, interval, uncertainty_of(plan, launches, name)))


def uncertainty_of(plan: Plan, launches: Sequence[Launch], name: str) -> float:
    compared = {name, plan.reference or name}
    return uncertainty(
        max(taken_share(block for launch in launches for block in launch.rounds[each]) for each in compared)
    )


def uncertainty(taken: float) -> float:
    """Return the standard deviation of a ratio's logarithm that launches in a row do not show.

    ``taken`` is the share, 0 to 1, of the wall time of a model's blocks that others took; the larger of the two.
    """
    return math.hypot(BETWEEN_SITTINGS, WITH_OTHERS * taken)


def clock(launches: Sequence[Launch], name: str) -> ClockRecord | None:
    """Return the clock rate at which a workload's blocks ran, or None where the system shows none."""
    rates = np.array([rate / 1000 for launch in launches for rate in launch.clock_khz.get(name, ())])
    return ClockRecord(float(np.median(rates)), float(rates.min()), float(rates.max())) if len(rates) else None


def transfers_of(launches: Sequence[Launch], name: str) -> dict[str, LatencySummary] | None:
    ways = launches[0].transfers[name]
    if not ways:
        return None
    return {way: summarise(np.concatenate([launch.transfers[name][way] for launch in launches])) for way in ways}


def time_limit_warnings(plan: Plan, launches: int) -> list[MeasurementWarning]:
    """Warn of a measurement that its time limit ended after so many launches, if the plan has more."""
    if launches >= plan.launches:
        return []
    few = f", and a ratio has no interval under {MIN_LAUNCHES}" if launches < MIN_LAUNCHES else ""
    message = f"the time limit left {launches} of {plan.launches} launches{few}; raise --timeout"
    return [MeasurementWarning("time_limit", message)]


def too_few_samples(launches: Sequence[Launch], name: str) -> list[MeasurementWarning]:
    """Warn of fewer rounds than a median and a ratio need, however many inferences are in them."""
    rounds = sum(len(launch.costing[name]) for launch in launches)
    if rounds >= MIN_ROUNDS:
        return []
    message = f"{rounds} rounds in the time given, {MIN_ROUNDS} are needed; give more --seconds"
    return [MeasurementWarning("too_few_samples", message)]


def sample_warnings(launches: Sequence[Launch], name: str) -> list[MeasurementWarning]:
    blocks, warnings = costs_of(launches, name), too_few_samples(launches, name)
    if not blocks:
        return warnings
    spread = relative_spread(np.concatenate(blocks))
    if spread > WIDE:
        message = f"the middle half of the runs spreads over {spread:.0%} of the median: no quiet machine"
        warnings.append(MeasurementWarning("wide_spread", message))
    if not is_steady([float(np.median(block)) for block in blocks], DRIFT):
        message = f"the last third of the rounds differs by over {DRIFT:.0%} from the third before it"
        warnings.append(MeasurementWarning("not_steady", message))
    return warnings


def counted_warnings(plan: Plan, launches: Sequence[Launch], name: str) -> list[MeasurementWarning]:
    if is_counted(plan, launches, name):
        return []
    counted = sum(counted_rounds(plan, launches, name))
    total = sum(len(launch.costing[name]) for launch in launches)
    fewer = "measure on 1 thread, where their part can be told apart, " if plan.threads > 1 else ""
    share = most_taken(plan, launches, name)
    found = (
        f"others took {share:.0%} of the time, and every inference found its caches cold"
        if share > MOST_TAKEN
        else f"others took processor time from {total - counted} of {total} rounds, and too few are left to measure"
    )
    message = f"{found}: stop them, {fewer}or run it again when they rest"
    return [MeasurementWarning(OTHERS_TOOK_TIME, message)]
