"""The interface of every runtime: one model, loaded, with its inputs in place, and a call that runs it once."""

from abc import ABC, abstractmethod
from time import perf_counter_ns
from typing import Any

from edgekd.bench.clock import Call
from edgekd.bench.plan import Workload

Dims = tuple[int, ...]


class Session(ABC):
    """A loaded model: ``load_ms`` is the time of loading, ``providers`` are those that it really runs on.

    The inputs are made from ``seed`` and lie on the device. ``batch`` is the one in force.
    """

    providers: list[str]
    batch: int

    def __init__(self, workload: Workload, threads: int = 1, batch: int = 1, seed: int = 0):
        self.workload = workload
        self.threads = threads
        self.batch = batch
        started = perf_counter_ns()
        self.load()
        self.load_ms = (perf_counter_ns() - started) / 1e6
        self.place_inputs(seed)

    @abstractmethod
    def load(self) -> None:
        """Load the model; raise MeasurementError if it would run elsewhere than requested."""

    @abstractmethod
    def place_inputs(self, seed: int) -> None:
        """Make the inputs and set ``batch``."""

    @abstractmethod
    def run(self) -> Any:
        """Run one inference, finished when it returns; on a GPU without the transfers."""

    def transfers(self) -> dict[str, Call]:
        """Return the copies to and from the device that one inference needs, ``in`` and ``out``; none on a CPU."""
        return {}

    def first_run_ms(self) -> float:
        """Time the first inference, which allocates and does not count as steady state."""
        started = perf_counter_ns()
        self.run()
        return (perf_counter_ns() - started) / 1e6
