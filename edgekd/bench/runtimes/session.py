"""What every runtime is to the clock: one model, loaded, with its inputs in place, and a call that runs it once."""

from abc import ABC, abstractmethod
from time import perf_counter_ns
from typing import Any

from edgekd.bench.clock import Call
from edgekd.bench.plan import Subject

Dims = tuple[int, ...]


class Session(ABC):
    """``load_ms`` is what loading took; ``providers`` is where it runs in fact, never where it was asked to.

    The inputs are made of ``seed`` and lie on the device. ``batch`` is the one in force.
    """

    providers: list[str]
    batch: int

    def __init__(self, subject: Subject, threads: int = 1, batch: int = 1, seed: int = 0):
        self.subject = subject
        self.threads = threads
        self.batch = batch
        started = perf_counter_ns()
        self.load()
        self.load_ms = (perf_counter_ns() - started) / 1e6
        self.place_inputs(seed)

    @abstractmethod
    def load(self) -> None:
        """Loads the model and refuses one that runs elsewhere than asked."""

    @abstractmethod
    def place_inputs(self, seed: int) -> None:
        """Makes the inputs and sets ``batch``."""

    @abstractmethod
    def run(self) -> Any:
        """One inference, finished when it returns; on a GPU without the transfers."""

    def transfers(self) -> dict[str, Call]:
        """``in`` and ``out``: the copies to and from the device that one inference needs; none on a CPU."""
        return {}

    def first_run_ms(self) -> float:
        """Runs once and times it: the first inference allocates, and is no part of the steady figure."""
        started = perf_counter_ns()
        self.run()
        return (perf_counter_ns() - started) / 1e6
