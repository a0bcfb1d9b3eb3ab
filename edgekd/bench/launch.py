"""Launches as an agent sends them: one load of every model of a plan, and their blocks in turns."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekd.agent.blocks import TimedBlock
from edgekd.bench.energy import LaunchPower, power_window
from edgekd.bench.events import DAY_NS, DAY_S, Event, integer, nanoseconds, number, text
from edgekd.bench.plan import Plan
from edgekd.bench.records import SessionInfo

CPUS = 1 << 16
TICKS = 1 << 53
SWITCHES = 1 << 40
PROCESSES = 1 << 32
KHZ = 1 << 30


@dataclass(frozen=True)
class Launch:
    """Results of one launch, by workload.

    Attributes:
        opened: its session.
        rounds: blocks in turns, at the priority that every process has.
        transfers: nanoseconds of the copies to and from the device.
        taken: (2, 2) clock ticks in all and those of others, of the machine and of the CPUs measured on.
        throttle_events: how often the processor slowed itself for heat.
        shielded: blocks in turns at real-time priority; None where nothing calls for that or the kernel does not
            permit it.
        governor: the frequency governors in use.
        gpu: for models on a GPU, how many other processes had it before and after; None where that cannot be seen.
        power: None without a sensor.
        clock_khz: the clock rate after each block; empty where the system shows none.
    """

    opened: dict[str, SessionInfo]
    rounds: dict[str, list[TimedBlock]]
    transfers: dict[str, dict[str, list[int]]]
    taken: "np.ndarray[Any, Any]"
    throttle_events: int = 0
    shielded: dict[str, list[TimedBlock]] | None = None
    governor: str | None = None
    gpu: Sequence[int | None] = ()
    power: LaunchPower | None = None
    clock_khz: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def costing(self) -> dict[str, list[TimedBlock]]:
        """Return the blocks that costs are taken from: those that others were kept out of, if there are any."""
        return self.shielded or self.rounds


def launch_of(event: Event, plan: Plan) -> Launch:
    """Parse a launch of ``plan``; raise ValueError or its like if ``event`` cannot be one."""
    names = plan.workloads.keys()
    if any(event[key].keys() != names for key in ("rounds", "opened", "transfers")):
        raise ValueError("a launch of models that were not requested")
    return Launch(
        opened={name: session_info(event["opened"][name]) for name in names},
        rounds=rounds_of({name: event["rounds"][name] for name in names}),
        transfers={name: transfers_of(event["transfers"][name]) for name in names},
        taken=ticks_of(event["taken"]),
        throttle_events=integer(event["throttled"], "a count of throttling"),
        shielded=None if event["shielded"] is None else rounds_of({name: event["shielded"][name] for name in names}),
        governor=None if event["governor"] is None else text(event["governor"], "the governor"),
        gpu=[None if each is None else integer(each, "a count of processes", 0, PROCESSES) for each in event["gpu"]],
        power=None if event["power"] is None else power_of(event["power"], names),
        clock_khz={
            name: [integer(each, "a clock rate in kHz", 1, KHZ) for each in event["clock_khz"][name]] for name in names
        },
    )


def ticks_of(rows: Sequence[Sequence[float]]) -> "np.ndarray[Any, Any]":
    ticks = np.array([[number(each, "a count of ticks", -TICKS, TICKS) for each in row] for row in rows])
    if ticks.shape != (2, 2):
        raise ValueError(f"ticks in the shape {ticks.shape}")
    return ticks


def power_of(event: Event, names: Collection[str]) -> LaunchPower:
    kind, windows = text(event["sensor"], "the kind of a sensor"), event["windows"]
    return LaunchPower({name: power_window(windows[name], kind) for name in names}, ticks_of(event["taken"]))


def rounds_of(rounds: dict[str, Sequence[Event]]) -> dict[str, list[TimedBlock]]:
    read = {name: [block_of(block) for block in blocks] for name, blocks in rounds.items()}
    if len({len(blocks) for blocks in read.values()}) != 1 or not next(iter(read.values())):
        raise ValueError("rounds without a block of each model")
    return read


def block_of(event: Event) -> TimedBlock:
    waited = event["waited_ns"]
    return TimedBlock(
        nanoseconds(event["ns"]).tolist(),
        integer(event["lost_ns"], "lost time in nanoseconds", 0, DAY_NS),
        None if waited is None else integer(waited, "waiting time in nanoseconds", 0, DAY_NS * CPUS),
        integer(event["switches"], "a count of switches", 0, SWITCHES),
        integer(event["pool"], "a count of threads", 0, CPUS),
    )


def session_info(event: Event) -> SessionInfo:
    cpus = event["cpus"]
    return SessionInfo(
        load_ms=number(event["load_ms"], "the time of loading", 0, DAY_S * 1000),
        first_ms=number(event["first_ms"], "the time of the first inference", 0, DAY_S * 1000),
        providers=[text(each, "a provider") for each in event["providers"]],
        batch=integer(event["batch"], "the batch", 1, 1 << 31),
        cpus=None if cpus is None else [integer(cpu, "a CPU", 0, CPUS) for cpu in cpus],
    )


def transfers_of(event: Event) -> dict[str, list[int]]:
    return {text(way, "a copy's direction"): nanoseconds(times).tolist() for way, times in event.items()}
