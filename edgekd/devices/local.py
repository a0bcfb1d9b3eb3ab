"""This machine's own devices, probed by the same runner as remote ones."""

import json
import subprocess
import tempfile
from time import monotonic

from edgekd import children
from edgekd.devices.events import Event
from edgekd.devices.probe import Probe, parse_probe
from edgekd.devices.registry import Device
from edgekd.errors import DeviceError
from edgekd.pipes import Lines, SlowError

TIMEOUT_S = 120.0


def probe_local(device: Device) -> Probe:
    """Probe ``cpu``, or ``cuda`` if NVIDIA's driver finds a GPU."""
    if device.name == "cpu":
        return parse_probe(device, ask_runner())
    gpu = cuda_name()
    if gpu is None:
        raise DeviceError("this machine has no GPU that nvidia-smi knows; 'edgekd devices add' names another")
    return parse_probe(device, {**ask_runner(), "board": gpu})


def cuda_name() -> str | None:
    words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def ask_runner() -> Event:
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            children.words("edgekd.devices.runner"), env=children.environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        with process:
            process.stdin.write(b'{"job": "probe"}\n')
            process.stdin.flush()
            try:
                line = Lines(process.stdout).next(monotonic() + TIMEOUT_S)
            except SlowError:
                line = None
            process.kill()
    if not line:
        raise DeviceError(
            "this machine's own runner does not respond; run 'python -m edgekd.devices.runner' to see why"
        )
    return dict(json.loads(line))
