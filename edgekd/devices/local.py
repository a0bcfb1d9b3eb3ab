"""This machine's own devices, probed by the same agent as remote ones."""

from edgekd.bench.events import Event
from edgekd.bench.local_agent import LocalJob
from edgekd.devices.probe import PROBE, Probe, parse_probe
from edgekd.devices.registry import Device
from edgekd.errors import DeviceError, MeasurementError

TIMEOUT_S = 120.0


def probe_local(device: Device) -> Probe:
    """Probe ``cpu``, or ``cuda`` if NVIDIA's driver finds a GPU."""
    found = ask_agent()
    if device.name == "cpu":
        return parse_probe(device, found)
    gpus = str(found.get("gpu", "")).splitlines()
    if not gpus:
        raise DeviceError("this machine has no GPU that nvidia-smi knows; 'edgekd devices add' names another")
    return parse_probe(device, {**found, "board": gpus[0]})


def ask_agent() -> Event:
    try:
        with LocalJob(PROBE, TIMEOUT_S) as job:
            return next(iter(job))
    except MeasurementError as error:
        raise DeviceError(f"this machine's own agent does not respond: {error}") from error
