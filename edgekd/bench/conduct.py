"""A plan carried out on this machine: sitting after sitting, each model in a fresh process, taking turns."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekd.bench.caution import Caution
from edgekd.bench.clock import is_steady
from edgekd.bench.compare import MIN_ROUNDS, Rounds, runs_per_block, summarise, take_turns
from edgekd.bench.cpus import quietest
from edgekd.bench.environment import (
    Neighbours,
    busy_cautions,
    governor,
    governor_cautions,
    share_of,
    throttle_cautions,
    throttle_events,
    usable_cpus,
)
from edgekd.bench.plan import Plan
from edgekd.bench.records import LatencyRecord
from edgekd.bench.worker import TimeLimit, TimeLimitError, Worker
from edgekd.errors import MeasurementError
from edgekd.ranges import POSITIVE
from edgekd.stats.percentiles import percentile_interval, relative_spread
from edgekd.stats.ratios import MIN_LAUNCHES, ratio_over_launches, stretched

WIDE = 0.1
DRIFT = 0.05
LONGEST = 4
GROWTH = 1.5
# The verdict is looked at several times, and chance gets a try at each look; so it must be clearer to stop on
# than to report.
SURE = 0.99


@dataclass(frozen=True)
class Sitting:
    """Every subject loaded once: what it said of itself, its rounds, and what went on beside it."""

    opened: dict[str, dict[str, Any]]
    rounds: dict[str, Rounds]
    transfers: dict[str, dict[str, list[int]]]
    taken: np.ndarray[Any, Any]
    throttle_events: int


Shown = Callable[[Iterator[Sitting]], Iterable[Sitting]]


def measure(plan: Plan, timeout_s: float | None = None, shown: Shown = iter) -> dict[str, LatencyRecord]:
    """A record of each subject; those but the reference get their ratio to it.

    ``shown`` is handed the sittings as they come and passes them on, for a progress bar. Raises
    :class:`MeasurementError` where a model does not load or run, a process dies, or ``timeout_s`` is over before
    every subject was timed once; after that what was measured so far counts.
    """
    POSITIVE.check(MeasurementError, timeout_s=timeout_s)
    limit = TimeLimit(timeout_s or longest(plan))
    sittings = list(shown(sittings_of(plan, quietest(plan.threads), limit)))
    return {name: record(plan, name, sittings) for name in plan.subjects}


def sittings_of(plan: Plan, cpus: Sequence[int], limit: TimeLimit) -> Iterator[Sitting]:
    sittings: list[Sitting] = []
    look = plan.sittings
    while True:
        while len(sittings) < look:
            try:
                sittings.append(sit(plan, cpus, len(sittings), limit))
            except TimeLimitError:
                if not sittings:
                    raise
                return
            yield sittings[-1]
        if is_enough(plan, sittings):
            return
        look = min(round(GROWTH * look), look + affordable(plan, sittings))


def longest(plan: Plan) -> float:
    """Well past the worst case: overtime, warm-up, and loading on a slow disk."""
    return 60 + len(plan.subjects) * (60 + 2 * LONGEST * time_for_each(plan))


def time_for_each(plan: Plan) -> float:
    return plan.max_seconds or LONGEST * plan.seconds


def sit(plan: Plan, cpus: Sequence[int], number: int, limit: TimeLimit) -> Sitting:
    with workers(plan, cpus, limit) as contenders:
        opened = open_all(plan, contenders)
        runs = {name: runs_per_block(worker.warm_up(plan.warmup_s)) for name, worker in contenders.items()}
        neighbours = Neighbours([worker.pid for worker in contenders.values()], cpus)
        throttled = throttle_events()
        rounds = take_turns(
            contenders,
            runs,
            plan.seconds / plan.sittings,
            -(-MIN_ROUNDS // plan.sittings),
            np.random.default_rng([plan.seed, number]),
        )
        taken, events = neighbours.taken(), throttle_events() - throttled
        transfers = {name: worker.ask("transfers", seconds=plan.warmup_s) for name, worker in contenders.items()}
    return Sitting(opened, rounds, transfers, taken, events)


@contextmanager
def workers(plan: Plan, cpus: Sequence[int], limit: TimeLimit) -> Iterator[dict[str, Worker]]:
    with ExitStack() as stack:
        started = {name: stack.enter_context(Worker(name, plan.threads, limit)) for name in plan.subjects}
        for name, worker in started.items():
            worker.send("prepare", runtime=plan.subjects[name].runtime, cpus=list(cpus))
        for worker in started.values():
            worker.receive("prepare")
        yield started


def open_all(plan: Plan, contenders: Mapping[str, Worker]) -> dict[str, dict[str, Any]]:
    """One after the other: loading is timed too."""
    opened = {
        name: worker.ask(
            "open", subject=plan.subjects[name].to_json(), threads=plan.threads, batch=plan.batch, seed=plan.seed
        )
        for name, worker in contenders.items()
    }
    if len({about["batch"] for about in opened.values()}) > 1:
        batches = ", ".join(f"{name} {about['batch']}" for name, about in opened.items())
        raise MeasurementError(f"the files fix different batches ({batches}); time them apart, or export them alike")
    return opened


def is_enough(plan: Plan, sittings: Sequence[Sitting]) -> bool:
    if affordable(plan, sittings) < 1:
        return True
    return all(
        is_narrow(times_of(sittings, name), plan.width) and is_decided(plan, sittings, name) for name in plan.subjects
    )


def affordable(plan: Plan, sittings: Sequence[Sitting]) -> int:
    """How many sittings more ``max_seconds`` pays for."""
    return round((time_for_each(plan) / plan.seconds) * plan.sittings) - len(sittings)


def is_narrow(times: np.ndarray[Any, Any], width: float) -> bool:
    interval = percentile_interval(times, 0.5)
    return interval is not None and interval[1] - interval[0] <= width * float(np.median(times))


def is_decided(plan: Plan, sittings: Sequence[Sitting], name: str) -> bool:
    if plan.reference in (None, name):
        return True
    value, interval = ratio(plan, sittings, name)
    if interval is None:
        return False
    low, high = stretched(value, interval, len(sittings), SURE)
    excluded = not low <= plan.question <= high
    near = plan.question * (1 - plan.resolution), plan.question * (1 + plan.resolution)
    return excluded or (near[0] <= low and high <= near[1])


def ratio(plan: Plan, sittings: Sequence[Sitting], name: str) -> tuple[float, tuple[float, float] | None]:
    assert plan.reference is not None
    ours, theirs = ([sitting.rounds[one] for sitting in sittings] for one in (name, plan.reference))
    return ratio_over_launches(ours, theirs, plan.seed)


def times_of(sittings: Sequence[Sitting], name: str) -> np.ndarray[Any, Any]:
    return np.concatenate([block for sitting in sittings for block in sitting.rounds[name]])


def record(plan: Plan, name: str, sittings: Sequence[Sitting]) -> LatencyRecord:
    opened = [sitting.opened[name] for sitting in sittings]
    subject, about = plan.subjects[name], opened[0]
    against = None if plan.reference in (None, name) else against_reference(*ratio(plan, sittings, name))
    return LatencyRecord(
        latency_ms=summarise(times_of(sittings, name)),
        latency_vs_reference=against,
        load_ms=float(np.median([one["load_ms"] for one in opened])),
        first_ms=float(np.median([one["first_ms"] for one in opened])),
        transfers_ms=transfers_of(sittings, name),
        runtime=subject.runtime,
        device=subject.device,
        threads=plan.threads,
        batch=about["batch"],
        cpus=about["cpus"],
        providers=about["providers"],
        raw_ns=[[block.tolist() for block in sitting.rounds[name]] for sitting in sittings],
        warnings=(
            *machine_cautions(plan.threads),
            *cut_short(plan, sittings),
            *around(sittings),
            *sample_cautions(sittings, name),
        ),
    )


def against_reference(value: float, interval: tuple[float, float] | None) -> dict[str, Any]:
    return {"ratio": value} | ({"ci95": list(interval)} if interval else {})


def transfers_of(sittings: Sequence[Sitting], name: str) -> dict[str, Any] | None:
    ways = sittings[0].transfers[name]
    if not ways:
        return None
    return {way: summarise(np.concatenate([sitting.transfers[name][way] for sitting in sittings])) for way in ways}


def machine_cautions(threads: int) -> list[Caution]:
    cautions = governor_cautions(governor())
    if threads > usable_cpus():
        message = f"{threads} threads shared {usable_cpus()} CPUs: this is not their speed; lower --threads"
        cautions.append(Caution("too_few_cpus", message))
    return cautions


def cut_short(plan: Plan, sittings: Sequence[Sitting]) -> list[Caution]:
    if len(sittings) >= plan.sittings:
        return []
    few = f", and a ratio has no interval under {MIN_LAUNCHES}" if len(sittings) < MIN_LAUNCHES else ""
    message = f"the time limit left {len(sittings)} of {plan.sittings} sittings{few}; give more --timeout"
    return [Caution("time_limit", message)]


def around(sittings: Sequence[Sitting]) -> list[Caution]:
    """What went on beside all sittings together; the kernel's ticks are too coarse for a single one."""
    share = share_of(np.sum([sitting.taken for sitting in sittings], axis=0))
    return busy_cautions(share) + throttle_cautions(sum(sitting.throttle_events for sitting in sittings))


def sample_cautions(sittings: Sequence[Sitting], name: str) -> list[Caution]:
    blocks = [block for sitting in sittings for block in sitting.rounds[name]]
    cautions = []
    if len(blocks) < MIN_ROUNDS:
        message = f"{len(blocks)} rounds in the time given, {MIN_ROUNDS} are needed; give more --seconds"
        cautions.append(Caution("too_few_samples", message))
    spread = relative_spread(np.concatenate(blocks))
    if spread > WIDE:
        message = f"the middle half of the runs spreads over {spread:.0%} of the median: no quiet machine"
        cautions.append(Caution("wide_spread", message))
    if not is_steady(np.array([np.median(block) for block in blocks]), DRIFT):
        message = f"the last third of the rounds differs by over {DRIFT:.0%} from the third before it"
        cautions.append(Caution("not_steady", message))
    return cautions
