"""Inferences in turns on a device, with ONNX Runtime's own times of its kernels."""

import numpy as np

from edgekd.bench.runtimes.onnxruntime.turns import Taken, Turns
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError

TIMEOUT_S = 600.0


def turns_there(remote: Remote, turns: Turns, timeout_s: float = TIMEOUT_S) -> Taken:
    """As :func:`edgekd.bench.runtimes.onnxruntime.turns.take` does it here.

    Raises:
        DeviceError: a model does not load or run there, or the connection or the time ended first.
    """
    names = {path: f"{number}.onnx" for number, path in enumerate(dict.fromkeys(turns.models.values()))}
    for path, name in names.items():
        remote.put(path, name)
    files = {name: names[path] for name, path in turns.models.items()}
    told = list(remote.events({"job": "turns", "models": files, **turns.to_json()}, timeout_s))
    if not told:
        raise DeviceError(f"{remote.device.name} told no times; try again")
    for name, path in turns.optimised.items():
        remote.get(f"optimised-{name}.onnx", path)
    return Taken(np.array(told[0]["times_ns"], np.int64), told[0]["events"])
