"""Interleaved inferences on a device, with ONNX Runtime's own times of its kernels."""

from collections.abc import Sequence

import numpy as np

from edgekd.bench.interleaved import InterleavedRuns, InterleavedTimes
from edgekd.bench.profile.trace import Trace
from edgekd.devices.events import DAY_S, Event, nanoseconds, number, reading_response, text
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError

TIMEOUT_S = 600.0


def interleave_on_device(remote: Remote, turns: InterleavedRuns, timeout_s: float = TIMEOUT_S) -> InterleavedTimes:
    """Run the inferences on the device, as :func:`edgekd.runtimes.onnxruntime.interleave.take` does here.

    Raises:
        DeviceError: a model does not load or run there, or the connection or the time ended first.
    """
    names = {path: f"{number}.onnx" for number, path in enumerate(dict.fromkeys(turns.models.values()))}
    for path, name in names.items():
        remote.put(path, name)
    files = {name: names[path] for name, path in turns.models.items()}
    events = list(remote.events({"job": "turns", "models": files, **turns.to_json()}, timeout_s))
    if not events:
        raise DeviceError(f"{remote.device.name} sent no times; try again")
    for name, path in turns.optimised.items():
        remote.get(f"optimised-{name}.onnx", path)
    with reading_response(remote.device.name):
        return interleaved_times(events[0], turns)


def interleaved_times(event: Event, turns: InterleavedRuns) -> InterleavedTimes:
    times = np.array([nanoseconds(row) for row in event["times_ns"]], np.int64)
    if times.ndim != 2 or times.shape[1] != len(turns.order):
        raise ValueError(f"times in the shape {times.shape}")
    return InterleavedTimes(times, {name: trace_of(event["events"][name]) for name in turns.recorded})


def trace_of(events: Sequence[Event]) -> Trace:
    for event in events:
        text(event["name"], "the name of a kernel")
        number(event["dur"], "the time of a kernel in microseconds", 0, DAY_S * 1e6)
        number(event["ts"], "the moment of a kernel in microseconds")
    return Trace.from_json(events)
