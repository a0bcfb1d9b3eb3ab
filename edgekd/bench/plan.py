"""What is to be measured, as plain data.

A device is whatever takes a plan and hands back a record of each subject: :func:`edgekd.bench.conduct.measure` does
it on this machine. A plan names files and nothing else of a machine, so that it can be carried to where it is run.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgekd.errors import MeasurementError
from edgekd.ranges import COUNT, NOT_NEGATIVE, POSITIVE, SEED


@dataclass(frozen=True)
class Subject:
    """A model and the runtime that runs it.

    ``model`` is a file that the runtime loads by itself; for PyTorch ``path.py:function``, which gives the network.
    ``shape`` is the shape of the first input, batch included, where the model does not say it.
    """

    model: str
    runtime: str = "onnxruntime"
    device: str = "cpu"
    shape: tuple[int, ...] | None = None
    precision: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for size in self.shape or ():
            COUNT.check(MeasurementError, shape=size)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Subject":
        shape = document.get("shape")
        return cls(**{**document, "shape": None if shape is None else tuple(shape)})


@dataclass(frozen=True)
class Plan:
    """Subjects timed in turns, for ``seconds`` each and longer where the figures ask for it.

    Every one of the ``sittings`` loads each subject anew, in a process of its own. More are added, until each
    subject had ``max_seconds``, while the 95 % interval of a median is wider than ``width`` of it, or while that of
    a ratio to ``reference`` holds ``question`` and reaches further than ``resolution`` from it.
    """

    subjects: Mapping[str, Subject]
    reference: str | None = None
    threads: int = 1
    batch: int = 1
    seconds: float = 3.0
    max_seconds: float | None = None
    sittings: int = 8
    width: float = 0.02
    question: float = 1.0
    resolution: float = 0.01
    warmup_s: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.subjects:
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
        COUNT.check(MeasurementError, threads=self.threads, batch=self.batch, sittings=self.sittings)
        SEED.check(MeasurementError, seed=self.seed)
        if self.reference is not None and self.reference not in self.subjects:
            raise MeasurementError(
                f"the reference {self.reference!r} is not among the models: {', '.join(self.subjects)}"
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Plan":
        subjects = {name: Subject.from_json(subject) for name, subject in document["subjects"].items()}
        return cls(**{**document, "subjects": subjects})
