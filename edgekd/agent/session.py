"""The interface of every runtime: one model, loaded, with its inputs in place, and a call that runs it once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from edgekd.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from edgekd.agent.clock import Call
    from edgekd.agent.inputs import Declared
    from edgekd.agent.workload import Workload


class Session(ABC):
    """A loaded model: ``load_ms`` is the time of loading, ``providers`` are those that it really runs on.

    ``input_names`` are in the model's order; ``declared`` are the inputs of a file as it declares them.

    The inputs are made from ``seed`` and lie on the device. ``batch`` is the one in force. Where ``seed`` is None, none
    are made, and ``threads`` may be 0, for as many as the runtime takes by itself: there are only :meth:`outputs`.
    """

    providers: list[str]
    batch: int
    input_names: list[str]
    declared: Sequence[Declared] = ()

    def __init__(self, workload: Workload, threads: int = 1, batch: int = 1, seed: int | None = 0, **_: Any):
        self.workload = workload
        self.threads = threads
        self.batch = batch
        if threads < 1 and seed is not None:
            raise MeasurementError(f"{threads} threads cannot run anything; give --threads 1 or more")
        started = perf_counter_ns()
        self.load()
        self.load_ms = (perf_counter_ns() - started) / 1e6
        if seed is not None:
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

    @abstractmethod
    def outputs(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Return the outputs by name for the inputs ``feeds``, by name too."""

    def transfers(self) -> dict[str, Call]:
        """Return the copies to and from the device that one inference needs, ``in`` and ``out``; none on a CPU."""
        return {}

    def end_profiling(self) -> list[dict[str, Any]]:
        """Return the events of a session that was made with ``profile_to``, as a Chrome trace has them."""
        raise MeasurementError(f"{self.workload.runtime} records no kernels of single inferences")

    def first_run_ms(self) -> float:
        """Time the first inference, which allocates and does not count as steady state."""
        started = perf_counter_ns()
        self.run()
        return (perf_counter_ns() - started) / 1e6


def session_type(place: str) -> type[Session]:
    """Import the class of sessions at ``place``, as ``package.module:Class``."""
    module, _, name = place.partition(":")
    found: type[Session] = getattr(import_module(module), name)
    return found
