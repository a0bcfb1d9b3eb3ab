"""A fresh, pinned measuring process for one model, independent of the caller's thread pools, caches and memory."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from signal import SIGKILL, Signals
from time import monotonic
from typing import Any

import numpy as np

from edgekd import children
from edgekd.bench.clock import Nanoseconds
from edgekd.bench.cpus import quietest
from edgekd.bench.plan import Workload
from edgekd.bench.records import MemoryRecord
from edgekd.errors import MeasurementError
from edgekd.pipes import FloodError, Lines, SlowError


class TimeLimitError(MeasurementError):
    """The time limit of the whole measurement is over."""


class TimeLimit:
    """A limit of ``seconds`` from when this was made."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.end = monotonic() + seconds

    def left(self) -> float:
        return max(0.0, self.end - monotonic())


class Worker:
    """A process of :mod:`edgekd.bench.child` and the pipes to it; it is killed when the ``with`` block ends."""

    def __init__(self, name: str, threads: int, limit: TimeLimit):
        self.name = name
        self.limit = limit
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            children.words("edgekd.bench.child"),
            stdin=pipe, stdout=pipe, stderr=self._stderr, bufsize=0, start_new_session=True,
            env=children.environment(OMP_NUM_THREADS=str(threads)),
        )  # fmt: skip
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout)
        self.pid = self._process.pid

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        # A compiler that the runtime started is of its group.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def call(self, command: str, **arguments: Any) -> Any:
        self.send(command, **arguments)
        return self.receive(command)

    def send(self, command: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # receiving says why
            self._process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")

    def receive(self, command: str) -> Any:
        """Return the result of ``command``, which was sent before."""
        response = json.loads(self._line(command))
        if "error" in response:
            raise MeasurementError(response["error"])
        return response["result"]

    def _line(self, command: str) -> bytes:
        try:
            line = self._lines.next(self.limit.end)
        except SlowError:
            raise TimeLimitError(
                f"{self.name}: {ACTIVITIES.get(command, command)} was not done when the time limit of "
                f"{self.limit.seconds:g} s was over, and was stopped; a smaller batch or model takes less"
            ) from None
        except FloodError as error:
            raise MeasurementError(f"{self.name}: the measuring process {error}") from None
        if line is None:
            raise MeasurementError(f"{self.name}: {self._failure_message()}")
        return line

    def _failure_message(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        return failure_message(code, self._stderr.read().decode(errors="replace"))

    def warm_up(self, seconds: float) -> Nanoseconds:
        return np.array(self.call("warm_up", seconds=seconds), dtype=np.int64)

    def block(self, runs: int, settle: bool) -> Nanoseconds:
        return np.array(self.call("block", runs=runs, settle=settle), dtype=np.int64)


ACTIVITIES = {
    "prepare": "starting",
    "open": "loading and the first inference",
    "warm_up": "the warm-up",
    "block": "a block of inferences",
    "memory": "the run for peak memory",
    "profile": "the profile",
    "roofs": "the measurement of what this machine can do",
    "transfers": "the copies to and from the device",
}


def call_once(command: str, arguments: Mapping[str, Any], threads: int = 1, timeout_s: float = 120) -> Any:
    """Run one command in a fresh process, pinned to as many CPUs as ``threads``, and return its result."""
    with Worker(arguments.get("workload", {}).get("model", "this machine"), threads, TimeLimit(timeout_s)) as worker:
        runtime = arguments.get("workload", {}).get("runtime", "onnxruntime")
        worker.call("prepare", runtime=runtime, cpus=quietest(threads))
        return worker.call(command, **arguments)


def memory(workload: Workload, threads: int = 1, batch: int = 1, timeout_s: float = 120) -> MemoryRecord:
    """Measure the peak memory of loading and running ``workload``, in a process of its own and apart from timing."""
    arguments = {"workload": workload.to_json(), "threads": threads, "batch": batch}
    return MemoryRecord(**call_once("memory", arguments, threads, timeout_s))


def failure_message(code: int, stderr: str) -> str:
    lines = stderr.strip().splitlines()
    if code >= 0:
        return lines[-1] if lines else f"the measuring process ended with code {code} and printed nothing"
    name = Signals(-code).name
    reason = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"the measuring process was ended by {name}{reason}" + (f": {lines[-1]}" if lines else "")
