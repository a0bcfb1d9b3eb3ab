"""What the harness adds around one inference: in the time it reports, and in the time the loop takes.

    python benchmarks/harness/overhead.py --json benchmarks/results/harness/overhead.json

A stub stands in for a runtime, so that nothing but the harness is left; of each figure the median over many short
turns, in nanoseconds, and its 95 % interval. The same block of inferences runs here and in the process that the agent
talks to through a pipe.
"""

import gc
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import finish, goal, options
from harness.planted import repeated_convs
from harness.stub_session import PLACE, Stub
from rich.console import Console
from rich.table import Table

from edgekd import children
from edgekd.agent.blocks import run_block
from edgekd.agent.child import Child
from edgekd.agent.clock import collect
from edgekd.agent.cpus import quietest
from edgekd.agent.session import Session
from edgekd.bench.plan import Workload
from edgekd.bench.runtimes import open_session
from edgekd.stats.percentiles import percentile, percentile_interval

BOUND_NS, PIPE_BOUND_NS = 2000, 20
CALLS = 2000
FOREVER = 3600.0

SHOWN = {
    "around": "the loop's time for an iteration, less a bare loop's",
    "inside": "of it within the sample: reading the clock",
    "wrapper": "OnnxSession.run, less InferenceSession.run",
    "added": "a loop over OnnxSession.run, less a bare one over InferenceSession.run",
    "piped": "an inference of a block behind the agent's pipe, less one of a block here",
}


def bare_ns(call: Callable[[], Any], calls: int) -> float:
    start = perf_counter_ns()
    for _ in range(calls):
        call()
    return (perf_counter_ns() - start) / calls


def collected_ns(call: Callable[[], Any], calls: int) -> tuple[float, float]:
    """A whole iteration of the harness's loop, and the sample that it took."""
    start = perf_counter_ns()
    times = collect(call, FOREVER, calls, max_runs=calls)
    return (perf_counter_ns() - start) / calls, float(np.median(times))


def of_the_loop(calls: int) -> dict[str, float]:
    session = Stub(Workload("nothing"))
    bare = bare_ns(session.run, calls)
    whole, sampled = collected_ns(session.run, calls)
    return {"bare": bare, "whole": whole, "sampled": sampled, "around": whole - bare, "inside": sampled - bare}


def wrapped_nothing() -> Session:
    """A real session whose ONNX Runtime does nothing: an inference's own noise would drown a call's cost."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(Workload(str(repeated_convs(Path(folder) / "tiny.onnx", 1, channels=1, size=2))))
    session._session = NoRuntime()  # type: ignore[attr-defined]
    return session


class NoRuntime:
    def run(self, outputs: object, feeds: object) -> None:
        return None


def of_the_wrapper(session: Session, calls: int) -> dict[str, float]:
    run = NoRuntime().run
    feeds: dict[str, Any] = {}
    start = perf_counter_ns()
    for _ in range(calls):
        run(None, feeds)
    direct = (perf_counter_ns() - start) / calls
    wrapped = bare_ns(session.run, calls)
    return {"direct": direct, "wrapped": wrapped, "wrapper": wrapped - direct}


@contextmanager
def stub_behind_pipe(cpus: list[int]) -> Iterator[Child]:
    """A child of the agent that runs the stub on ``cpus``."""
    os.environ.update(children.environment())
    child, workload = Child("stub"), Workload("nothing").to_json()
    try:
        child.ask("prepare", session=PLACE, cpus=cpus)
        child.ask("open", session=PLACE, workload=workload, threads=1, batch=1, seed=0)
        child.ask("warm", seconds=0.1)
        yield child
    finally:
        child.end()


def of_the_pipe(child: Child, calls: int) -> dict[str, float]:
    here = float(np.median(run_block(Stub(Workload("nothing")).run, calls).ns))
    there = float(np.median(child.ask("block", runs=calls, settle=False)["ns"]))
    return {"block_here": here, "block_there": there, "piped": there - here}


def turns(count: int, cpus: list[int]) -> list[dict[str, float]]:
    """All in turns, so that what slows the machine for a while slows both sides of a difference."""
    taken, session = [], wrapped_nothing()
    gc.disable()
    with stub_behind_pipe(cpus) as child:
        for _ in range(count):
            turn = {**of_the_loop(CALLS), **of_the_wrapper(session, CALLS), **of_the_pipe(child, CALLS)}
            taken.append({**turn, "added": turn["around"] + turn["wrapper"]})
    gc.enable()
    return taken


def summary(taken: list[dict[str, float]], name: str) -> dict[str, Any]:
    values = [turn[name] for turn in taken]
    return {"median": percentile(values, 0.5), "ci95": percentile_interval(values, 0.5)}


def main() -> None:
    arguments = options(__doc__)
    cpu = quietest(1)
    os.sched_setaffinity(0, cpu)
    turns(10, cpu)
    taken = turns(100 if arguments.quick else 1500, cpu)
    figures = {name: summary(taken, name) for name in SHOWN}
    table = Table("Nanoseconds per inference", "Median", "95 %")
    for name, about in SHOWN.items():
        table.add_row(about, f"{figures[name]['median']:.0f}", "{:.0f} to {:.0f}".format(*figures[name]["ci95"]))
    Console(width=120).print(table)
    goals = [
        goal("ns added around one inference", BOUND_NS, figures["added"]["median"], at_most=True),
        goal("ns added inside a block by the pipe", PIPE_BOUND_NS, figures["piped"]["median"], at_most=True),
    ]
    finish(arguments, {"cpu": cpu, "calls_a_turn": CALLS, "turns_ns": taken, "figures_ns": figures}, goals)


if __name__ == "__main__":
    main()
