"""Energy from samples of a board's power rails. These are the module's and leave out its carrier board."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import MeasurementError

# The rail of the whole module, or those that it is the sum of; the first set that a board has whole.
TOTALS = (
    ("VDD_IN",),  # TX2, Xavier NX, Orin NX, Orin Nano
    ("POM_5V_IN",),  # Nano
    ("VIN",),  # Thor
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)

PowerSample = tuple[float, Mapping[str, float]]


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


def energy_per_inference_j(
    samples: Sequence[PowerSample], start: float, end: float, inferences: int, rails: Sequence[str] | None = None
) -> float:
    """Return the joules of one of ``inferences`` that filled the window, including the board's idle power."""
    if inferences < 1:
        raise MeasurementError("no inference in the window: no energy of one")
    return energy_j(samples, start, end, rails) / inferences


def series(samples: Sequence[PowerSample], rails: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    times = np.array([time for time, _ in samples])
    if np.any(np.diff(times) <= 0):
        raise MeasurementError("power samples whose times do not grow: the device's clock was set while measuring")
    try:
        return times, np.array([sum(power[rail] for rail in rails) for _, power in samples]) / 1000
    except KeyError as error:
        raise MeasurementError(f"the rail {error.args[0]} is missing in some samples; leave energy out") from error
