"""The measuring process: ``python -m edgekd.bench.child`` loads one model and obeys commands line by line.

A line of JSON in, ``{"command", ...arguments}``, gives a line of JSON out, ``{"result"}`` or ``{"error"}``. Standard
input stays open as long as the parent lives; its end ends this process, whatever it is doing.
"""

import gc
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from edgekd.errors import EdgekdError, MeasurementError
from edgekd.registry import Registry
from edgekd.scratch import remove_all_scratch

if TYPE_CHECKING:
    from edgekd.bench.session import Session

STATUS = Path("/proc/self/status")
COMMANDS: Registry[Callable[..., Any]] = Registry("command", MeasurementError)


class Loaded:
    """The one session of this process."""

    session: "Session"


@COMMANDS.register("prepare")
def prepare(runtime: str, cpus: list[int]) -> None:
    """Import the runtime, which several processes may do at a time, then pin this process to ``cpus``."""
    from edgekd.bench import compare  # noqa: F401
    from edgekd.bench.runtimes import RUNTIMES

    RUNTIMES.find(runtime)()
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


@COMMANDS.register("open")
def open_(workload: dict[str, Any], threads: int, batch: int, seed: int) -> dict[str, Any]:
    from edgekd.bench.plan import Workload
    from edgekd.bench.runtimes import open_session

    session = Loaded.session = open_session(Workload.from_json(workload), threads, batch, seed)
    times = {"load_ms": session.load_ms, "first_ms": session.first_run_ms()}
    # For good: this process does nothing but run the model, and a collection in its midst would be counted.
    gc.collect()
    gc.disable()
    return {**times, "providers": session.providers, "batch": session.batch, "cpus": pinned_to()}


def pinned_to() -> list[int] | None:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@COMMANDS.register("warm_up")
def warm_up(seconds: float) -> list[int]:
    from edgekd.bench import clock

    return list(map(int, clock.warm_up(Loaded.session.run, seconds)))


@COMMANDS.register("block")
def block(runs: int, settle: bool) -> list[int]:
    from edgekd.bench import compare

    return list(map(int, compare.block(Loaded.session.run, runs, settle)))


@COMMANDS.register("transfers")
def transfers(seconds: float) -> dict[str, list[int]]:
    from edgekd.bench import clock

    ways = Loaded.session.transfers().items()
    return {way: list(map(int, clock.sample(copy, seconds / 4, 3, seconds, 10))) for way, copy in ways}


@COMMANDS.register("memory")
def memory(workload: dict[str, Any], threads: int, batch: int, runs: int = 3) -> dict[str, int]:
    from edgekd.bench.plan import Workload
    from edgekd.bench.runtimes import RUNTIMES

    wanted = Workload.from_json(workload)
    runtime = RUNTIMES.find(wanted.runtime)()
    baseline = rss_bytes()
    session = runtime(wanted, threads, batch)
    for _ in range(runs):
        session.run()
    return {"peak_rss_bytes": peak_rss_bytes(), "baseline_rss_bytes": baseline}


def peak_rss_bytes() -> int:
    # On Linux ru_maxrss survives exec: a child starts with its parent's peak, often a whole torch.
    if STATUS.exists():
        return status_bytes("VmHWM")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rss_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def status_bytes(key: str) -> int:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[key].split()[0]) * 1024


@COMMANDS.register("profile")
def profile(workload: dict[str, Any], threads: int, batch: int, runs: int, trace_to: str | None) -> dict[str, Any]:
    from edgekd.bench.plan import Workload
    from edgekd.bench.profile.profiler import profile_workload

    trace = Path(trace_to) if trace_to else None
    return profile_workload(Workload.from_json(workload), threads, batch, runs, trace).to_json()


@COMMANDS.register("roofs")
def roofs(threads: int) -> dict[str, Any]:
    from edgekd.bench.profile.roofs import measure_roofs

    return measure_roofs(threads).to_json()


def requests() -> "queue.SimpleQueue[dict[str, Any]]":
    """Return the queue of the parent's requests, filled by a thread: the parent's end ends a long inference too."""
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(json.loads(line))
        remove_all_scratch()
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    return waiting


def respond(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": COMMANDS.find(request.pop("command"))(**request)}
    except EdgekdError as error:
        return {"error": str(error)}


def main() -> None:
    # What a library prints must not end up among the responses.
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    waiting = requests()
    while True:
        output.write(json.dumps(respond(waiting.get())) + "\n")


if __name__ == "__main__":
    main()
