"""This machine's own devices, asked by the same runner."""

import json
import subprocess
import tempfile
from time import monotonic
from typing import Any

from edgekd import children
from edgekd.devices.probe import Probe, understood
from edgekd.devices.registry import Device
from edgekd.errors import DeviceError
from edgekd.pipes import Lines, SlowError

TIMEOUT_S = 120.0


def probe_here(device: Device) -> Probe:
    """``cpu``, or ``cuda`` where NVIDIA's driver knows one."""
    if device.name == "cpu":
        return understood(device, ask_runner())
    gpu = cuda_name()
    if gpu is None:
        raise DeviceError("this machine has no GPU that nvidia-smi knows; 'edgekd devices add' names another")
    return understood(device, {**ask_runner(), "board": gpu})


def cuda_name() -> str | None:
    words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def ask_runner() -> dict[str, Any]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            children.words("edgekd.devices.runner"), env=children.environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
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
        raise DeviceError("this machine said nothing of itself; run 'python -m edgekd.devices.runner' to see why")
    return dict(json.loads(line))
