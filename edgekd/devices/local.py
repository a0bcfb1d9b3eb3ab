"""This machine's own devices, probed by the same agent as remote ones."""

import subprocess

from edgekd.bench.events import Event
from edgekd.bench.local_agent import LocalJob
from edgekd.devices.probe import PROBE, Probe, parse_probe
from edgekd.devices.registry import Device
from edgekd.errors import DeviceError, MeasurementError

TIMEOUT_S = 120.0


def probe_local(device: Device) -> Probe:
    """Probe ``cpu``, or ``cuda`` if NVIDIA's driver finds a GPU."""
    if device.name == "cpu":
        return parse_probe(device, ask_agent())
    gpu = cuda_name()
    if gpu is None:
        raise DeviceError("this machine has no GPU that nvidia-smi knows; 'edgekd devices add' names another")
    return parse_probe(device, {**ask_agent(), "board": gpu})


def cuda_name() -> str | None:
    words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def ask_agent() -> Event:
    try:
        with LocalJob(PROBE, TIMEOUT_S) as job:
            return next(iter(job))
    except MeasurementError as error:
        raise DeviceError(f"this machine's own agent does not respond: {error}") from error
