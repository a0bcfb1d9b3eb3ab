"""Measurement plans, as plain data.

:func:`edgekd.bench.runner.measure` carries a plan out on this machine, :mod:`edgekd.devices` on another. A plan names
files and nothing else of a machine, so that it can be sent to where it is run.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgekd.agent.workload import Workload
from edgekd.errors import MeasurementError
from edgekd.ranges import COUNT, NOT_NEGATIVE, POSITIVE, SEED


@dataclass(frozen=True)
class Plan:
    """Workloads timed in turns, for ``seconds`` each and for longer while the results are unclear.

    More launches follow until each workload had ``max_seconds``, as long as one of these holds: the 95 % interval of a
    median is wider than ``width`` of it, or that of a ratio to ``reference`` contains ``question`` and reaches beyond
    ``resolution`` from it.

    Attributes:
        workloads: what is timed, by name.
        reference: the name of the workload that ratios are taken to; without it there are no ratios.
        threads, batch: of each session, at least 1.
        seconds, max_seconds: above 0, for each workload; four times ``seconds`` if the second is left out.
        launches: processes at the least, each of which loads every workload; a ratio's interval needs 6.
        width: widest interval of a median, as a share of it, above 0.
        question: the ratio that the result is to be told from, above 0, such as a budget's; 1 asks which is faster.
        resolution: as a share of ``question``, above 0.
        warmup_s: seconds, at least 0.
        power: read the power of each workload too, where there is a sensor, for some seconds more.

    Raises:
        MeasurementError: a number is out of range, there is no workload, or the reference is none of them.
    """

    workloads: Mapping[str, Workload]
    reference: str | None = None
    threads: int = 1
    batch: int = 1
    seconds: float = 3.0
    max_seconds: float | None = None
    launches: int = 8
    width: float = 0.02
    question: float = 1.0
    resolution: float = 0.01
    warmup_s: float = 0.2
    seed: int = 0
    power: bool = True

    def __post_init__(self) -> None:
        if not self.workloads:
            raise MeasurementError("nothing to time: give at least one model")
        POSITIVE.check(
            MeasurementError,
            seconds=self.seconds,
            max_seconds=self.max_seconds,
            width=self.width,
            question=self.question,
            resolution=self.resolution,
        )
        NOT_NEGATIVE.check(MeasurementError, warmup_s=self.warmup_s)
        COUNT.check(MeasurementError, threads=self.threads, batch=self.batch, launches=self.launches)
        SEED.check(MeasurementError, seed=self.seed)
        if self.reference is not None and self.reference not in self.workloads:
            raise MeasurementError(
                f"the reference {self.reference!r} is not among the models: {', '.join(self.workloads)}"
            )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "workloads": {name: each.to_json() for name, each in self.workloads.items()}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Plan":
        workloads = {name: Workload.from_json(workload) for name, workload in document["workloads"].items()}
        return cls(**{**document, "workloads": workloads})
