"""The figures by which a search compares candidates, without PyTorch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from edgekd.strict_json import JsonObject

# Of an event with times: the machine that they are of.
MACHINE = "machine"


@dataclass(frozen=True)
class Figures:
    """The figures of a recipe's last network, on the validation samples and on paper.

    Attributes:
        value: the task's first metric of its file.
        drop: how much worse than the teacher's file that is, in the metric's own scale; ``error`` is its standard
            error over samples, both networks on the same ones.
        likeness: how alike samples make that and the drops of earlier candidates: the mean correlation, sample by
            sample; None where there are none, or samples are not right or wrong.
        n: the number of samples.
        size_bytes, teacher_size_bytes: of the files.
        macs, teacher_macs: multiply-accumulates of one inference.
        ms, teacher_ms: predicted milliseconds of one inference; None where no time was asked for or can be had.
        others: the drop and its standard error by each further metric that the budget bounds.
    """

    value: float
    drop: float
    error: float
    n: int
    size_bytes: int
    teacher_size_bytes: int
    macs: int
    teacher_macs: int
    ms: float | None = None
    teacher_ms: float | None = None
    likeness: float | None = None
    others: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, document: JsonObject) -> "Figures":
        return cls(**document)
