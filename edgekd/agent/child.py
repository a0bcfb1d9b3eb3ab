"""A process that does nothing but run one model, and the handle that the host has of it.

A line of JSON in, ``{"command", ...arguments}``, gives a line of JSON out, ``{"result"}`` or ``{"error"}``. Its input
stays open as long as the host lives; the end of that ends it, whatever it is doing.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from signal import SIGKILL, Signals
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING, Any

from edgekd.agent.blocks import run_block
from edgekd.agent.clock import collect, warm_up
from edgekd.agent.cpus import pin_to, pinned_to
from edgekd.agent.lines import Conversation, one_line
from edgekd.agent.session import Session, session_type
from edgekd.agent.system import peak_rss_bytes, rss_bytes
from edgekd.agent.threads import Pool, Waiting, threads_now
from edgekd.agent.workload import Workload
from edgekd.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The share of a warm-up's wall time that others may take. Threads of a pool hold each other up. The time of one alone
# is known, but where others have most of it, it finds its caches cold.
TAKEN_FROM_POOL, TAKEN_FROM_ONE = 0.01, 0.6
COPIES = 10


class ChildError(MeasurementError):
    """A model that failed in its process, or whose process was ``killed``; the message is one line."""

    def __init__(self, model: str, message: str, killed: bool = False):
        super().__init__(message)
        self.model, self.killed = model, killed


class Child:
    """The host's handle of a process of :func:`serve`, which is killed by :meth:`end`."""

    def __init__(self, name: str, threads: int = 1):
        self.name = name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end
        self._process = subprocess.Popen(
            child_words(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        self.pid = self._process.pid

    def ask(self, command: str, **arguments: Any) -> Any:
        self.send(command, **arguments)
        return self.receive()

    def send(self, command: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # receiving says why
            self._process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> Any:
        """Return the result of the command that was sent first of those that were not answered."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            code = self._process.wait()
            self._stderr.seek(0)
            message = failure_message(code, self._stderr.read().decode(errors="replace"))
            raise ChildError(self.name, message, killed=code == -SIGKILL)
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(self.name, answer["error"])
        return answer["result"]

    def end(self) -> None:
        # A compiler that the runtime started is of its group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]


def child_words() -> list[str]:
    """Return the command line of a child: of the archive that this runs from, or of the installed package."""
    archive = Path(__file__).parents[2]
    if zipfile.is_zipfile(str(archive)):
        return [sys.executable, str(archive), "child"]
    from edgekd import children

    return [*children.words("edgekd.agent"), "child"]


def failure_message(code: int, stderr: str) -> str:
    """Return why a process that ended with ``code`` did, from what it printed last."""
    lines = stderr.strip().splitlines()
    if code >= 0:
        return lines[-1] if lines else f"the measuring process ended with code {code} and printed nothing"
    name = Signals(-code).name
    reason = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"the measuring process was ended by {name}{reason}" + (f": {lines[-1]}" if lines else "")


class Served:
    """The one session of a child, and its commands."""

    session: Session
    pool: Pool | None = None
    cpus: list[int]

    def prepare(self, session: str | None, cpus: list[int]) -> None:
        """Import the runtime, which several processes may do at a time, then pin this process to ``cpus``."""
        if session is not None:
            session_type(session)
        self.cpus = cpus
        pin_to(cpus)

    def open(self, session: str, workload: dict[str, Any], threads: int, batch: int, seed: int) -> dict[str, Any]:
        opened = self.session = session_type(session)(Workload.from_json(workload), threads, batch, seed)
        times = {"load_ms": opened.load_ms, "first_ms": opened.first_run_ms()}
        # For good: this process does nothing but run the model, and a collection in its midst would be counted.
        gc.collect()
        gc.disable()
        return {**times, "providers": opened.providers, "batch": opened.batch, "cpus": pinned_to()}

    def warm(self, seconds: float) -> dict[str, Any]:
        """Return the time of each call of a warm-up, and ``shield``: others are in the way of the runtime's threads."""
        before, waiting, started = threads_now(), Waiting(), perf_counter_ns()
        times = warm_up(self.session.run, seconds)
        wall = perf_counter_ns() - started
        lost = waiting.lost_ns(wall)
        self.pool = Pool(before, wall, self.cpus)
        if self.pool.is_hidden:
            return {"times": times, "shield": False}
        if not self.pool.threads:
            return {"times": times, "shield": lost / wall > TAKEN_FROM_ONE and self.pool.is_privileged}
        with self.pool.at_work(alone=False):
            settled = run_block(self.session.run, len(times), pool=self.pool)
        taken = max(lost / wall, (settled.lost_ns + (settled.waited_ns or 0)) / sum(settled.ns))
        return {"times": times, "shield": taken > TAKEN_FROM_POOL and self.pool.is_privileged}

    def block(self, runs: int, settle: bool, shielded: bool = False) -> dict[str, Any]:
        """Run a block of inferences; one that is ``shielded`` at real-time priority."""
        assert self.pool is not None
        with self.pool.at_work(shielded, alone=not settle):
            return run_block(self.session.run, runs, settle, self.pool).to_json()

    def work(self, seconds: float, edge_s: float) -> dict[str, float]:
        """Run inferences for ``seconds``, and for ``edge_s`` before and after; return when those that count ran.

        The times are of the clock that all processes read, in seconds.
        """
        assert self.pool is not None
        with self.pool.at_work(alone=False):
            collect(self.session.run, edge_s, 1)
            began = monotonic()
            inferences = len(collect(self.session.run, seconds, 1))
            ended = monotonic()
            collect(self.session.run, edge_s, 1)
        return {"began": began, "ended": ended, "inferences": inferences}

    def transfers(self, seconds: float) -> dict[str, list[int]]:
        return {way: sample(copy, seconds) for way, copy in self.session.transfers().items()}

    def memory(self, session: str, workload: dict[str, Any], threads: int, batch: int, runs: int = 3) -> dict[str, int]:
        runtime = session_type(session)
        baseline = rss_bytes()
        opened = runtime(Workload.from_json(workload), threads, batch)
        for _ in range(runs):
            opened.run()
        return {"peak_rss_bytes": peak_rss_bytes(), "baseline_rss_bytes": baseline}

    def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """Call ``package.module:function`` of this installation, and return its JSON."""
        module, _, name = function.partition(":")
        return getattr(import_module(module), name)(**arguments)


def sample(copy: Callable[[], Any], seconds: float) -> list[int]:
    warm_up(copy, seconds / 4, 3)
    return collect(copy, seconds, COPIES)


def serve(conversation: Conversation) -> None:
    """Run commands until the input ends, which ends this process."""
    served = Served()
    conversation.at_end = put_away
    while True:
        request = conversation.receive()
        try:
            conversation.send({"result": getattr(served, request.pop("command"))(**request)})
        except Exception as error:
            conversation.send({"error": one_line(error)})


def put_away() -> None:
    """Remove the scratch folders of whatever was at work here."""
    scratch = sys.modules.get("edgekd.scratch")
    if scratch is not None:
        scratch.remove_all_scratch()
