"""Energy of inferences, from readings of power rails or of energy counters while they ran.

Rails are a module's and leave out its carrier board. Counters are those of a processor's packages (RAPL).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.bench.environment import BUSY_SHARE, share_of
from edgekd.bench.events import Event, integer, number
from edgekd.bench.rails import rails_of
from edgekd.bench.records import EnergyRecord
from edgekd.errors import MeasurementError

# The rail of the whole module, or those that it is the sum of; the first set that a board has whole.
TOTALS = (
    ("VDD_IN",),  # TX2, Xavier NX, Orin NX, Orin Nano
    ("POM_5V_IN",),  # Nano
    ("VIN",),  # Thor
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)
# Of a window; with fewer, or with fewer values of a sensor that renews them slowly, its mean power is not known.
LEAST_READINGS = 3
NO_SENSOR = (
    "no sensor of power could be read: a Jetson has rails, and bare x86 Linux has counters, which "
    "'sudo chmod a+r /sys/class/powercap/*/energy_uj' lets everyone read; virtual machines and containers hide them"
)

PowerSample = tuple[float, Mapping[str, float]]
Readings = Sequence[tuple[float, Any]]


@dataclass(frozen=True)
class PowerWindow:
    """Inferences in a row that took so many ``seconds``.

    Attributes:
        watts: mean power of each rail or package; empty where there were too few readings.
    """

    seconds: float
    inferences: int
    watts: Mapping[str, float]


@dataclass(frozen=True)
class LaunchPower:
    """Windows of one launch by workload, and ``taken``: ticks in all and those of others meanwhile, (2, 2)."""

    windows: Mapping[str, PowerWindow]
    taken: NDArray[np.float64]


def mean_energy(launches: Sequence[LaunchPower], name: str) -> EnergyRecord | None:
    """Return the energy of one inference of a workload over its windows.

    It is None without a sensor, if no window has enough readings, and if others had a share of the power.
    """
    windows = [launch.windows[name] for launch in launches if launch.windows[name].watts]
    if len({tuple(window.watts) for window in windows}) != 1 or others_share(launches) > BUSY_SHARE:
        return None
    joules = sum(sum(window.watts.values()) * window.seconds for window in windows)
    inferences, seconds = sum(window.inferences for window in windows), sum(window.seconds for window in windows)
    return EnergyRecord(joules / inferences, joules / seconds, tuple(windows[0].watts), inferences)


def others_share(launches: Sequence[LaunchPower]) -> float:
    """Return the share of the CPUs that others used while power was read, 0 to 1."""
    return share_of(np.sum([launch.taken for launch in launches], axis=0)) if launches else 0.0


def power_window(event: Event, kind: str) -> PowerWindow:
    """Parse the window of an agent that reads a sensor of ``kind``; raise ValueError or its like if it is none."""
    began, ended = (number(event[key], "a moment of inferences") for key in ("began", "ended"))
    times = [number(time, "the moment of a reading") for time, _ in event["readings"]]
    if not began < ended or any(now <= before for before, now in pairwise(times)):
        raise ValueError(f"inferences from {began} to {ended} s, and readings that do not follow each other")
    inside = [(time, each) for time, (_, each) in zip(times, event["readings"], strict=True) if began <= time <= ended]
    watts = MEAN_WATTS[kind](inside) if len(inside) >= LEAST_READINGS else {}
    return PowerWindow(ended - began, integer(event["inferences"], "a count of inferences", 1), watts)


def rail_watts(readings: Readings) -> dict[str, float]:
    """Return the mean power of the rails that add up to the module's; nothing where no rails are known to."""
    samples = rail_samples(readings)
    (first, names), (last, _) = samples[0], samples[-1]
    if last - first < LEAST_READINGS * update_s(readings[0][1]):
        return {}
    try:
        return {rail: energy_j(samples, first, last, [rail]) / (last - first) for rail in total_rails(names)}
    except MeasurementError:
        return {}


def update_s(monitors: Sequence[Mapping[str, str]]) -> float:
    """Return after how many seconds the slowest of the monitors has new values, as far as they tell."""
    return max((float(files.get("update_interval", 0)) / 1000 for files in monitors), default=0.0)


def counter_watts(readings: Readings) -> dict[str, float]:
    """Return the mean power of each package; nothing where a counter stands still, as in a virtual machine."""
    seconds, watts = readings[-1][0] - readings[0][0], {}
    for name in readings[0][1]:
        files = [packages[name] for _, packages in readings]
        if not all(each["energy_uj"] for each in files):
            return {}
        watts[name] = sum(microjoules(before, after) for before, after in pairwise(files)) / 1e6 / seconds
    return watts if all(watts.values()) else {}


def microjoules(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """Return what a package took between two readings, between which its counter starts again once at most."""
    spent = int(after["energy_uj"]) - int(before["energy_uj"])
    # The counter takes the value of its range too.
    return spent if spent >= 0 else spent + int(after["max_energy_range_uj"]) + 1


# By the kinds of sensors of edgekd.agent.power.
MEAN_WATTS: Mapping[str, Callable[[Readings], dict[str, float]]] = {"rails": rail_watts, "counters": counter_watts}


def rail_samples(readings: Readings) -> list[PowerSample]:
    """Return the time and the milliwatts of each rail, by the files of each monitor at that time."""
    return [
        (
            number(time, "the moment of a power sample"),
            {rail.name: rail.mw for files in monitors for rail in rails_of(files)},
        )
        for time, monitors in readings
    ]


def total_rails(names: Iterable[str]) -> tuple[str, ...]:
    """Return the rails that add up to the module's power.

    Raises:
        MeasurementError: no set of rails is known to be the whole.

    >>> total_rails(["VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"])
    ('VDD_IN',)
    """
    known = set(names)
    for rails in TOTALS:
        if known.issuperset(rails):
            return rails
    raise MeasurementError(
        f"none of the rails {', '.join(sorted(known)) or '(none)'} is known to be the module's input: no energy; "
        "give the ones that add up to it"
    )


def energy_j(samples: Sequence[PowerSample], start: float, end: float, rails: Sequence[str] | None = None) -> float:
    """Return the energy in joules of ``rails`` between the times ``start`` and ``end``.

    ``samples`` are (seconds, milliwatts of each rail) on one clock; power is taken as linear between two of them.

    Raises:
        MeasurementError: the samples do not span the window, or a rail is missing in them.
    """
    if not start < end:
        raise MeasurementError(f"a window from {start} to {end} s holds no time")
    rails = rails or total_rails(samples[0][1] if samples else ())
    times, watts = series(samples, rails)
    if not len(times) or times[0] > start or times[-1] < end:
        span = f"{times[0]:g} to {times[-1]:g} s" if len(times) else "nothing"
        raise MeasurementError(f"power was sampled over {span}, not over all of {start:g} to {end:g} s: sample longer")
    within = (times > start) & (times < end)
    edges = np.array([start, *times[within], end])
    power = np.interp(edges, times, watts)
    return float(np.sum((power[1:] + power[:-1]) / 2 * np.diff(edges)))


def series(samples: Sequence[PowerSample], rails: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    times = np.array([time for time, _ in samples])
    if np.any(np.diff(times) <= 0):
        raise MeasurementError("power samples whose times do not grow: the device's clock was set while measuring")
    try:
        return times, np.array([sum(power[rail] for rail in rails) for _, power in samples]) / 1000
    except KeyError as error:
        raise MeasurementError(f"the rail {error.args[0]} is missing in some samples; leave energy out") from error
