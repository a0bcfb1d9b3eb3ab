"""Records of cuts: what each left of a network, and in what time, as the report has it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgekd.stages.validation import ValidationFigure
from edgekd.strict_json import JsonObject, build_record, known_to_json

if TYPE_CHECKING:
    from edgekd.prune.clock import Timing
    from edgekd.prune.verification import Unpruned


@dataclass(frozen=True)
class CutTiming:
    """The latency of a cut network as a share of the uncut one's, measured, and predicted by the layers' times.

    Attributes:
        round_to: the multiple that its widths were rounded to, where several were tried.
    """

    measured: float
    ci95: Sequence[float] | None = None
    predicted: float | None = None
    round_to: int | None = None

    @classmethod
    def of(cls, timing: "Timing", round_to: int | None = None) -> "CutTiming":
        return cls(timing.measured, timing.ci95, timing.predicted, round_to)


@dataclass(frozen=True)
class KeptLayers:
    """Layers that kept their width, and the operation and the reason that required it."""

    layers: Sequence[str]
    operation: str
    reason: str

    @classmethod
    def of(cls, unpruned: "Unpruned") -> "KeptLayers":
        return cls(unpruned.layers, unpruned.operation, unpruned.reason)


@dataclass(frozen=True)
class CutFigures:
    """What a cut left of a network.

    Attributes:
        of: what ``kept`` is a share of, such as MACs.
        least: the smallest share that such a cut reaches, where the share is of the MACs, parameters or size.
        name: of the cut, within its stage.
        dropped: the residual blocks that were dropped.
        round_to: the multiple that widths were rounded to, where roundings were timed; ``refused`` were slower.
        tried: every cut that was timed on the way to a latency, the last one included.
        figure, met: after training, on the validation samples, and whether it is enough, where that decides.
    """

    of: str
    kept: float
    least: float | None = None
    name: str | None = None
    dropped: Sequence[str] | None = None
    round_to: int | None = None
    timing: CutTiming | None = None
    refused: Sequence[CutTiming] | None = None
    tried: Sequence[CutTiming] | None = None
    left_whole: Sequence[KeptLayers] | None = None
    figure: ValidationFigure | None = None
    met: bool | None = None

    def to_json(self) -> JsonObject:
        return {**known_to_json(replace(self, figure=None)), **(self.figure.to_json() if self.figure else {})}

    @classmethod
    def from_json(cls, document: JsonObject) -> "CutFigures":
        timing = document.get("timing")
        refused, tried, left = (document.get(name) for name in ("refused", "tried", "left_whole"))
        return build_record(
            cls,
            document,
            timing=build_record(CutTiming, timing) if timing else None,
            refused=None if refused is None else [build_record(CutTiming, each) for each in refused],
            tried=None if tried is None else [build_record(CutTiming, each) for each in tried],
            left_whole=None if left is None else [build_record(KeptLayers, each) for each in left],
            figure=ValidationFigure.from_json(document),
        )
