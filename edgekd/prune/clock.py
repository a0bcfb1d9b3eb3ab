"""The latency of a cut network relative to the network before the cut, both exported and timed in turns."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import nn

from edgekd.bench import Plan, Workload
from edgekd.bench.quiet_moment import must_tell, when_quiet
from edgekd.bench.target import LocalTarget, TimingTarget
from edgekd.files import temporary_folder
from edgekd.runtime import DEFAULT

Write = Callable[[nn.Module, Path], object]
LAUNCHES = 6


@dataclass(frozen=True)
class Timing:
    """A network's cost as a multiple of the reference's, measured, and predicted by a table of layer times."""

    measured: float
    ci95: tuple[float, float] | None
    predicted: float | None = None

    @property
    def is_slower(self) -> bool:
        """Tell whether the network is slower than the reference with 95 % confidence."""
        return self.ci95 is not None and self.ci95[0] > 1

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


class Clock:
    """Times networks against ``reference`` in a runtime; a context manager that cleans up its files.

    >>> with Clock(network, write) as clock:  # doctest: +SKIP
    ...     print(clock.time(cut).measured)

    Args:
        write: writes a network as ONNX in the precision of its deployment.
        threads: threads of the runtime.
        seconds: the least time for each network and measurement; up to twice as long where the interval is wide.
        target: the machine that measures; this one if left out.
        runtime: what runs the networks there.
    """

    def __init__(
        self,
        reference: nn.Module,
        write: Write,
        threads: int = 1,
        seconds: float = 1.5,
        launches: int = LAUNCHES,
        target: TimingTarget | None = None,
        runtime: str = DEFAULT,
    ):
        self.reference, self.write = reference, write
        self.threads, self.seconds, self.launches = threads, seconds, launches
        self.target, self.runtime = target or LocalTarget(), runtime

    def __enter__(self) -> "Clock":
        with ExitStack() as stack:
            folder = stack.enter_context(temporary_folder())
            self.before, self.after = (folder / name for name in ("before.onnx", "after.onnx"))
            self.write(self.reference, self.before)
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def time(self, network: nn.Module, predicted: float | None = None) -> Timing:
        """Export ``network``, and time it and the reference in turns.

        Raises:
            MeasurementError: other processes took so much of the processors that the ratio cannot be told.
            EdgekdError: it cannot be exported, or the runtime does not run it.
        """
        self.write(network, self.after)
        files = {"before": self.before, "after": self.after}
        workloads = {name: Workload(str(path), self.runtime) for name, path in files.items()}
        plan = Plan(
            workloads, "before", self.threads, 1, self.seconds, 2 * self.seconds, launches=self.launches, power=False
        )
        records = when_quiet(self.target.latency, plan)
        must_tell(records, "the latency of the pruned network")
        against = records["after"].latency_vs_reference
        assert against is not None
        return Timing(against.ratio, against.ci95, predicted)
