"""Inferences of several models in turns in one process, some with their kernels' times recorded."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from edgekd.agent.blocks import run_block
from edgekd.agent.clock import collector_off
from edgekd.agent.cpus import pin_to, quietest
from edgekd.agent.session import session_type
from edgekd.agent.threads import Pool, threads_now
from edgekd.agent.workload import Workload

if TYPE_CHECKING:
    from edgekd.agent.lines import Conversation


def run_interleaved(request: dict[str, Any], conversation: Conversation) -> None:
    """Send the blocks of one inference each, by turn, and the events of recorded models.

    ``order`` is one turn, by the names of ``models``. After ``warmup`` turns they count, until ``seconds`` are over,
    but ``least`` to ``most`` of them. ``optimised`` and ``recorded`` say where files of a model go.
    """
    threads = request["threads"]
    cpus = quietest(threads)
    pin_to(cpus)
    sessions = {
        name: session_type(model["session"])(
            Workload.from_json(model["workload"]),
            threads,
            profile_to=request["recorded"].get(name, ""),
            optimized_to=request["optimised"].get(name, ""),
        )
        for name, model in request["models"].items()
    }
    order = [sessions[name].run for name in request["order"]]
    turns: list[list[dict[str, Any]]] = []
    with collector_off():
        before, started = threads_now(), perf_counter_ns()
        for _ in range(max(1, request["warmup"])):
            for run in order:
                run()
        pool = Pool(before, perf_counter_ns() - started, cpus)
        deadline = perf_counter_ns() + round(request["seconds"] * 1e9)
        while len(turns) < request["least"] or (perf_counter_ns() < deadline and len(turns) < request["most"]):
            turns.append([run_block(run, 1, pool=pool).to_json() for run in order])
    events = {name: kernels(sessions[name].end_profiling()) for name in request["recorded"]}
    conversation.send({"event": "turns", "turns": turns, "events": events})


def kernels(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the whole inferences of a Chrome trace, and the kernels that ran in them."""
    return [event for event in events if event["name"] == "model_run" or event["name"].endswith("_kernel_time")]
