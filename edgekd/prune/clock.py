"""The time of a cut network over that of the network before the cut, both exported and run in turns."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import nn

from edgekd.bench import Plan, Subject
from edgekd.bench.target import LocalTarget, TimingTarget
from edgekd.files import temporary_folder

Write = Callable[[nn.Module, Path], object]
SITTINGS = 6


@dataclass(frozen=True)
class Timing:
    """A network's time over another's; ``predicted`` by a table of layer times, where there is one."""

    measured: float
    ci95: tuple[float, float] | None
    predicted: float | None = None

    @property
    def is_slower(self) -> bool:
        """Beyond the interval."""
        return self.ci95 is not None and self.ci95[0] > 1

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


class Clock:
    """Times networks against ``reference`` in ONNX Runtime; a context that cleans up its files.

    >>> with Clock(network, write) as clock:  # doctest: +SKIP
    ...     print(clock.time(cut).measured)

    Args:
        write: writes a network as ONNX, as it will be deployed: in its precision.
        threads: of ONNX Runtime.
        seconds: for each network and timing, at least; twice as long where the interval asks for it.
        target: where times are taken; this machine by default.
    """

    def __init__(
        self,
        reference: nn.Module,
        write: Write,
        threads: int = 1,
        seconds: float = 1.5,
        sittings: int = SITTINGS,
        target: TimingTarget | None = None,
    ):
        self.reference, self.write = reference, write
        self.threads, self.seconds, self.sittings = threads, seconds, sittings
        self.target = target or LocalTarget()

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
        """Exports ``network`` and times it and the reference in turns.

        Raises:
            EdgekdError: it cannot be exported, or the runtime does not run it.
        """
        self.write(network, self.after)
        subjects = {"before": Subject(str(self.before)), "after": Subject(str(self.after))}
        plan = Plan(subjects, "before", self.threads, 1, self.seconds, 2 * self.seconds, sittings=self.sittings)
        against = self.target.latency(plan)["after"].latency_vs_reference
        assert against is not None
        ci95 = against.get("ci95")  # absent where there were too few sittings
        return Timing(against["ratio"], tuple(ci95) if ci95 else None, predicted)
