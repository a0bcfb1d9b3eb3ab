"""A fresh, pinned process for one model, which the caller's thread pools, caches and memory do not colour."""

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
from edgekd.bench.plan import Subject
from edgekd.bench.records import MemoryRecord
from edgekd.errors import MeasurementError
from edgekd.pipes import FloodError, Lines, SlowError


class TimeLimitError(MeasurementError):
    """The time that the whole measurement was given is over."""


class TimeLimit:
    """``seconds`` from when this was made."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.end = monotonic() + seconds

    def left(self) -> float:
        return max(0.0, self.end - monotonic())


class Worker:
    """:mod:`edgekd.bench.child` and the pipes to it; the process is gone when the ``with`` block ends."""

    def __init__(self, name: str, threads: int, limit: TimeLimit):
        self.name = name
        self.limit = limit
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            children.words("edgekd.bench.child"),
            stdin=pipe, stdout=pipe, stderr=self._complaints, bufsize=0, start_new_session=True,
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
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def ask(self, command: str, **arguments: Any) -> Any:
        self.send(command, **arguments)
        return self.receive(command)

    def send(self, command: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # receiving says why
            self._process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")

    def receive(self, doing: str) -> Any:
        answer = json.loads(self._line(doing))
        if "error" in answer:
            raise MeasurementError(answer["error"])
        return answer["result"]

    def _line(self, doing: str) -> bytes:
        try:
            line = self._lines.next(self.limit.end)
        except SlowError:
            raise TimeLimitError(
                f"{self.name}: {DOING.get(doing, doing)} was not done when the time limit of "
                f"{self.limit.seconds:g} s was over, and was stopped; a smaller batch or model takes less"
            ) from None
        except FloodError as error:
            raise MeasurementError(f"{self.name}: the measuring process {error}") from None
        if line is None:
            raise MeasurementError(f"{self.name}: {self._last_words()}")
        return line

    def _last_words(self) -> str:
        code = self._process.wait()
        self._complaints.seek(0)
        return last_words(code, self._complaints.read().decode(errors="replace"))

    def warm_up(self, seconds: float) -> Nanoseconds:
        return np.array(self.ask("warm_up", seconds=seconds), dtype=np.int64)

    def block(self, runs: int, settle: bool) -> Nanoseconds:
        return np.array(self.ask("block", runs=runs, settle=settle), dtype=np.int64)


DOING = {
    "prepare": "starting",
    "open": "loading and the first inference",
    "warm_up": "the warm-up",
    "block": "a block of inferences",
    "memory": "the run for peak memory",
    "profile": "the profile",
    "roofs": "the measurement of what this machine can do",
    "transfers": "the copies to and from the device",
}


def ask_once(command: str, arguments: Mapping[str, Any], threads: int = 1, timeout_s: float = 120) -> Any:
    """The answer of a fresh process, pinned to as many CPUs as ``threads``, that does nothing else."""
    with Worker(arguments.get("subject", {}).get("model", "this machine"), threads, TimeLimit(timeout_s)) as worker:
        runtime = arguments.get("subject", {}).get("runtime", "onnxruntime")
        worker.ask("prepare", runtime=runtime, cpus=quietest(threads))
        return worker.ask(command, **arguments)


def memory(subject: Subject, threads: int = 1, batch: int = 1, timeout_s: float = 120) -> MemoryRecord:
    """Peak memory of loading and running ``subject``, in a process of its own and apart from any timing."""
    arguments = {"subject": subject.to_json(), "threads": threads, "batch": batch}
    return MemoryRecord(**ask_once("memory", arguments, threads, timeout_s))


def last_words(code: int, complaint: str) -> str:
    lines = complaint.strip().splitlines()
    if code >= 0:
        return lines[-1] if lines else f"the measuring process ended with code {code} and said nothing"
    name = Signals(-code).name
    reason = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"the measuring process was ended by {name}{reason}" + (f": {lines[-1]}" if lines else "")
