"""Throttling of a board during a measurement, detected from its counters, temperatures and clocks."""

from collections.abc import Mapping, Sequence

import numpy as np

from edgekd.bench.records import MeasurementWarning
from edgekd.devices.jetson.tegrastats import Tegrastats

# /sys/class/hwmon/hwmon*/oc*_event_cnt, where the folder's name is soctherm_oc.
COUNTERS = {"oc1": "the supply's voltage was too low", "oc2": "the average current was too high"}
COUNTERS["oc3"] = "the current had a peak that was too high"
DROP = 0.95
LOADED = 50  # percent; an idle GPU's clock falls by itself
CODE = "throttled"


def counter_warnings(before: Mapping[str, int], after: Mapping[str, int]) -> list[MeasurementWarning]:
    """Warn of over-current events between two readings of the counters ``oc1`` to ``oc3``, which only grow."""
    found = []
    for name, count in after.items():
        events = count - before.get(name, count)
        if events > 0:
            why = COUNTERS.get(name, "an over-current event")
            message = f"{why} {events} times ({name}), and the board slowed itself: a lower power mode, a better supply"
            found.append(MeasurementWarning(CODE, message))
    return found


def temperature_warnings(samples: Sequence[Tegrastats], limits_c: Mapping[str, float]) -> list[MeasurementWarning]:
    """Warn of zones that reached the limit at which the board slows down: passive trip points in °C."""
    found = []
    for zone, limit in limits_c.items():
        hottest = max((sample.temperatures_c.get(zone, limit - 1) for sample in samples), default=limit - 1)
        if hottest >= limit:
            message = f"{zone} reached {hottest:g} °C and slows down from {limit:g} °C on: cool the board"
            found.append(MeasurementWarning(CODE, message))
    return found


def clock_warnings(samples: Sequence[Tegrastats]) -> list[MeasurementWarning]:
    """Warn of a GPU whose clock under load fell by over 5 % during the measurement."""
    gpus = [sample.gpu for sample in samples if sample.gpu and sample.gpu.mhz]
    clocks = [max(gpu.mhz) for gpu in gpus if gpu.percent is None or gpu.percent >= LOADED]
    if len(clocks) < 3:
        return []
    first, _, last = (float(np.median(third)) for third in np.array_split(np.array(clocks), 3))
    if last >= DROP * first:
        return []
    message = f"the GPU's clock fell from {first:g} to {last:g} MHz under load: cool the board, or lock a lower clock"
    return [MeasurementWarning(CODE, message)]
