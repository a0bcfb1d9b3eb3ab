"""One number or several for each sample: smooth L1, mean absolute error; and points in images as pairs of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from edgekd.errors import ModelError
from edgekd.tasks.logits import must_give_logits
from edgekd.tasks.metric import Evidence, Metric
from edgekd.tasks.signature import LOGITS, Signature
from edgekd.tasks.stored import must_have_known

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from typing_extensions import Self

    from edgekd.geometry import Geometry
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.breakdown import NamedPredictions, Pictures
    from edgekd.tasks.reduction import OutputReduction
    from edgekd.tasks.regression.by_value import ByValue
    from edgekd.tasks.regression.evidence import ErrorDetails
    from edgekd.tasks.regression.score import PredictedValues, ValuePredictions
    from edgekd.tasks.task import Arrays, DecoderOption, Language, OutputShape, OutputShapes, Stored, Tensors

# Predictions that are nearer than this share of the targets' deviation are alike.
ALIKE = 0.1


def _mean_absolute_error(predictions: ValuePredictions, targets: Arrays) -> Evidence:
    from edgekd.tasks.regression import evidence

    return evidence.mean_absolute_error(predictions, targets)


def _root_mean_squared_error(predictions: ValuePredictions, targets: Arrays) -> Evidence:
    from edgekd.tasks.regression import evidence

    return evidence.root_mean_squared_error(predictions, targets)


def _determination(predictions: ValuePredictions, targets: Arrays) -> Evidence:
    from edgekd.tasks.regression import evidence

    return evidence.determination(predictions, targets)


def _type(name: str) -> Callable[[], type[Evidence]]:
    def find() -> type[Evidence]:
        from edgekd.tasks.regression import evidence

        found: type[Evidence] = getattr(evidence, name)
        return found

    return find


@dataclass(frozen=True)
class Regression:
    """Each sample has the values ``names``, numbers in units of their own.

    Outputs: ``logits`` (N, values), standardised. Targets: ``values`` (N, values) in units; ``known`` (N, values),
    optional. A network learns (value − mean) / deviation, and :meth:`decode` gives units back.

    Attributes:
        mean, deviation: of each value's training targets; 0 and 1 if left out.

    Raises:
        ModelError: there are not as many as values, or a deviation is not above 0.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    name: ClassVar[str] = "regression"
    outputs: ClassVar[str] = "values"
    kind_of_names: ClassVar[str] = "values"
    pipeline_tags: ClassVar[Mapping[str, str]] = {"vector": "tabular-regression"}
    breakdown_key: ClassVar[str | None] = "by_value"
    decoder_options: ClassVar[Mapping[str, DecoderOption]] = {}
    # A teacher's values are no better than the targets: its loss leaves out where they are worse.
    hard_weight: ClassVar[float] = 0.5
    metrics: ClassVar[Sequence[Metric]] = (
        Metric("mae", "mean absolute error", "", "lower", "bootstrap", _mean_absolute_error, _type("AbsoluteErrors")),
        Metric(
            *("rmse", "root mean squared error", "", "lower", "bootstrap"),
            _root_mean_squared_error,
            _type("SquaredErrors"),
        ),
        Metric("r2", "coefficient of determination", "", "higher", "bootstrap", _determination, _type("Determination")),
    )

    def __post_init__(self) -> None:
        for field, least in (("mean", -math.inf), ("deviation", 0.0)):
            values = getattr(self, field)
            if values is None:
                continue
            if len(values) != self._width or not all(least < value < math.inf for value in values):
                kind = "numbers" if field == "mean" else "numbers above 0"
                raise ModelError(f"{field} is {list(values)}; expected {self._width} {kind}")
            object.__setattr__(self, field, tuple(float(value) for value in values))

    @property
    def _width(self) -> int:
        return len(self.names)

    @property
    def output_shapes(self) -> Mapping[str, OutputShapes]:
        return {LOGITS: ((self._width,),)}

    @classmethod
    def read_targets(cls, raw: NDArray[Any], count: int, where: str) -> NDArray[np.float32]:
        from edgekd.tasks.regression import targets

        return targets.read_targets(raw, count, where)

    @classmethod
    def numbered(cls, stored: NDArray[np.float32], where: str) -> tuple[str, ...]:
        from edgekd.tasks.regression import targets

        return targets.numbered(stored)

    @classmethod
    def known(cls, stored: NDArray[np.float32]) -> NDArray[np.bool_]:
        from edgekd.tasks.regression import targets

        return targets.has_any(stored)

    @classmethod
    def unknown(cls, like: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        from edgekd.tasks.regression import targets

        return targets.unknown(like, count)

    @classmethod
    def contradict(cls, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool:
        return bool((abs(ours - theirs) > 0).any())  # NaN, which is not known, is not

    def move_targets(self, stored: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
        return stored

    def adapted(self, stored: NDArray[np.float32], size: tuple[int, int] | None = None) -> Self:
        from edgekd.tasks.regression import targets

        targets.must_have_scale(stored, self.names)
        mean, deviation = targets.scale_of(stored)
        return replace(self, mean=mean, deviation=deviation)

    def must_be_named(self, stored: NDArray[np.float32], where: str) -> None:
        from edgekd.tasks.regression import targets

        targets.must_be_named(stored, self.names, where)

    def must_fit(self, stored: NDArray[Any], size: tuple[int, int], where: str) -> None:
        return

    def must_be_learnable(self, stored: NDArray[np.float32], where: object, advice: str = "") -> None:
        from edgekd.tasks.regression import targets

        targets.must_be_learnable(stored, self.names, where, advice)

    @classmethod
    def must_be_measurable(cls, stored: NDArray[np.float32], part: str, where: object) -> None:
        must_have_known(cls.known(stored), part, where)

    def describe(self, stored: NDArray[np.float32]) -> str:
        from edgekd.tasks.regression import targets

        return targets.describe(stored)

    def targets(self, stored: Stored) -> dict[str, Stored]:
        # Of one value its targets may come as a bare row.
        values: Any = stored if stored.ndim > 1 else stored.reshape(-1, 1)  # type: ignore[attr-defined]
        return {"values": values, "known": values == values}

    def reduction(self, shapes: Mapping[str, tuple[int, ...]]) -> OutputReduction:
        from edgekd.tasks.reduction import OutputReduction

        return OutputReduction("all")

    def to_rows(self, outputs: Arrays) -> NDArray[Any]:
        return outputs[LOGITS].astype("float32")

    def from_rows(self, rows: NDArray[Any]) -> ValuePredictions:
        return self.decode({LOGITS: rows})

    def is_finite(self, rows: NDArray[Any]) -> bool:
        import numpy as np

        return bool(np.isfinite(rows).all())

    def check(self, signature: Signature, targets: Arrays) -> None:
        must_give_logits(signature, self.output_shapes[LOGITS], "value")
        self.check_targets(targets)

    def check_targets(self, targets: Arrays) -> None:
        from edgekd.tasks.regression import score

        score.must_be_values(targets, (len(self.names),))

    def check_outputs(self, outputs: Tensors, network: str) -> None:
        return

    def warnings(self, targets: Arrays) -> list[str]:
        from edgekd.tasks.regression import score

        alike = [repr(self.names[value]) for value in score.constant(targets)]
        return [f"all samples have one {', '.join(alike)}: R² leaves it out"] if alike else []

    def strata(self, targets: Arrays) -> NDArray[np.int64] | None:
        return None

    def loss(self, outputs: Tensors, targets: Tensors, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        from edgekd.tasks.regression import train

        train.must_not_smooth(label_smoothing)
        known = targets["known"].flatten(1) if "known" in targets else None
        return {"labels": train.smooth_l1(outputs[LOGITS], self._standardised(targets), known)}

    def soft_loss(
        self, student: Tensors, teacher: Tensors, targets: Tensors, temperature: float | None = None
    ) -> dict[str, Tensor]:
        from edgekd.tasks.regression import train

        wanted = self._standardised(targets) if targets else None
        return {"teacher": train.bounded_smooth_l1(student[LOGITS], teacher[LOGITS], wanted)}

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        from edgekd.tasks.regression import train

        return train.divergence(outputs[LOGITS], reference[LOGITS])

    def fitted(self, outputs: Callable[[], Arrays], targets: Arrays) -> Self:
        return self

    def decode(self, outputs: Arrays) -> ValuePredictions:
        from edgekd.tasks.regression import score

        return score.decode(outputs[LOGITS], *self._scale)

    def details(self, outputs: Arrays, targets: Arrays) -> ErrorDetails:
        from edgekd.tasks.regression import evidence

        return evidence.details(self.decode(outputs), targets)

    def breakdown(
        self, before: NamedPredictions, after: NamedPredictions, targets: Arrays, runtime: str,
        pictures: Pictures | None = None,
    ) -> ByValue:  # fmt: skip
        from edgekd.tasks.regression.by_value import by_value

        return by_value(before, after, targets, self.names, runtime)

    @staticmethod
    def breakdown_from_json(document: JsonObject) -> ByValue:
        from edgekd.tasks.regression.by_value import ByValue

        return ByValue.from_json(document)

    def decoder(self) -> JsonObject:
        mean, deviation = self._scale
        return {"mean": list(mean), "deviation": list(deviation)}

    def agree(self, ours: ValuePredictions, theirs: ValuePredictions) -> NDArray[np.bool_]:
        from edgekd.tasks.regression import score

        return score.near(ours, theirs, self._scale[1], ALIKE)

    def settled(self, outputs: Arrays, tolerances: Mapping[str, float]) -> NDArray[np.bool_]:
        import numpy as np

        return np.full(len(outputs[LOGITS]), tolerances[LOGITS] < ALIKE)

    def describe_outputs(self, outputs: Mapping[str, OutputShape]) -> str:
        parts = zip(self.names, *self._scale, strict=True)
        values = ", ".join(f"{name} {mean:.6g} + {deviation:.6g} × output" for name, mean, deviation in parts)
        return f"one standardised number per value: {values}"

    def code(self, language: Language, outputs: Mapping[str, OutputShape] | None = None, of_image: bool = True) -> str:
        from edgekd.tasks.regression import score

        return score.code(language, *self._scale)

    def sample_predictions(
        self, predictions: ValuePredictions, top: int = 3, geometry: Sequence[Geometry] | None = None
    ) -> Sequence[PredictedValues]:
        from edgekd.tasks.regression import score

        return score.sample_predictions(predictions, self.names)

    @property
    def _scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.mean or (0.0,) * self._width, self.deviation or (1.0,) * self._width

    def _standardised(self, targets: Tensors) -> Tensor:
        values = targets["values"].flatten(1)
        mean, deviation = (values.new_tensor(each) for each in self._scale)
        found = (values - mean) / deviation
        # What stands in place of a target that is not known may be any number, such as 0.
        return found.masked_fill(~targets["known"].flatten(1), math.nan) if "known" in targets else found
