"""Interleaved inferences of several files in one process, some with their kernels' times recorded."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.agent.blocks import TimedBlock
from edgekd.bench.events import DAY_S, Event, number, text
from edgekd.bench.launch import block_of
from edgekd.bench.local_agent import LocalJob
from edgekd.bench.plan import Workload
from edgekd.bench.profile.trace import Trace
from edgekd.bench.runtimes import session_place
from edgekd.bench.undisturbed import undisturbed
from edgekd.files import temporary_folder
from edgekd.machine_lock import timing
from edgekd.runtime import DEFAULT

TIMEOUT_S = 600.0


@dataclass(frozen=True)
class InterleavedRuns:
    """Inferences at batch 1 to run in turns: ``order`` is one turn, by the names of ``models``.

    ``runtime`` records the kernels of the models in ``recorded``. After ``warmup`` turns they count, until ``seconds``
    are over, but ``least`` to ``most`` of them. ``optimised`` says for some models where their optimised graph goes.
    """

    models: Mapping[str, Path]
    order: Sequence[str]
    recorded: Collection[str]
    threads: int
    warmup: int
    least: int
    most: int
    seconds: float = 0.0
    optimised: Mapping[str, Path] = field(default_factory=dict)
    runtime: str = DEFAULT


@dataclass(frozen=True)
class InterleavedTimes:
    """``times_ns`` (turns, inferences in a turn), and the traces of recorded models in all turns.

    Times are without what other processes took of them, NaN where that cannot be told.
    """

    times_ns: NDArray[np.float64]
    traces: Mapping[str, Trace]

    def known(self, name: str, turns: InterleavedRuns) -> NDArray[np.bool_]:
        """Return for each counted inference of ``name`` whether its cost can be told, in the order of its trace."""
        own = [place for place, each in enumerate(turns.order) if each == name]
        return ~np.isnan(self.times_ns[:, own]).ravel()

    def runs(self, name: str, turns: InterleavedRuns) -> int:
        """Return the number of counted inferences of ``name``."""
        return len(self.times_ns) * list(turns.order).count(name)


def interleave_here(turns: InterleavedRuns, timeout_s: float = TIMEOUT_S) -> InterleavedTimes:
    """Run the inferences on this machine, in a process of their own.

    Raises:
        MeasurementError: a model does not load or run.
    """
    with temporary_folder() as folder:
        files = {name: str(path.resolve()) for name, path in turns.models.items()}
        recorded = {name: str(folder / name) for name in turns.recorded}
        optimised = {name: str(path.resolve()) for name, path in turns.optimised.items()}
        with timing(), LocalJob(request_of(turns, files, recorded, optimised), timeout_s) as job:
            return interleaved_times(next(iter(job)), turns)


def request_of(
    turns: InterleavedRuns, files: Mapping[str, str], recorded: Mapping[str, str], optimised: Mapping[str, str]
) -> dict[str, Any]:
    """Return the agent's job, with the files there of models, of their profiles and of their optimised graphs."""
    session = session_place(turns.runtime)
    return {
        "job": "edgekd.agent.interleave:run_interleaved",
        "models": {
            name: {"session": session, "workload": Workload(file, turns.runtime).to_json()}
            for name, file in files.items()
        },
        **{"order": list(turns.order), "recorded": recorded, "optimised": optimised, "threads": turns.threads},
        **{"warmup": turns.warmup, "least": turns.least, "most": turns.most, "seconds": turns.seconds},
    }


def interleaved_times(event: Event, turns: InterleavedRuns) -> InterleavedTimes:
    """Parse what an agent sends; raise ValueError or its like if ``event`` cannot be that."""
    times = np.array([[cost_of(block_of(block)) for block in row] for row in event["turns"]], np.float64)
    if times.ndim != 2 or times.shape[1] != len(turns.order):
        raise ValueError(f"times in the shape {times.shape}")
    return InterleavedTimes(times, {name: trace_of(event["events"][name]) for name in turns.recorded})


def cost_of(block: TimedBlock) -> float:
    times = undisturbed(block)
    return float("nan") if times is None else float(times[0])


def trace_of(events: Sequence[Event]) -> Trace:
    for event in events:
        text(event["name"], "the name of a kernel")
        number(event["dur"], "the time of a kernel in microseconds", 0, DAY_S * 1e6)
        number(event["ts"], "the moment of a kernel in microseconds")
    return Trace.from_json(events)
