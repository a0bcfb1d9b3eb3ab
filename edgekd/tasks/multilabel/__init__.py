"""Any number of labels for each sample: a sigmoid for each, binary cross-entropy, mean average precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from edgekd.errors import ModelError
from edgekd.tasks.logits import must_give_logits
from edgekd.tasks.metric import Evidence, Metric
from edgekd.tasks.signature import LOGITS, Signature
from edgekd.tasks.stored import WholeNumbers, nothing_to_measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from edgekd.geometry import Geometry
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.breakdown import NamedPredictions, Pictures
    from edgekd.tasks.multilabel.by_label import ByLabel
    from edgekd.tasks.multilabel.evidence import LabelDetails
    from edgekd.tasks.multilabel.score import LabelPredictions, PredictedLabels
    from edgekd.tasks.reduction import OutputReduction
    from edgekd.tasks.task import Arrays, DecoderOption, Language, OutputShape, OutputShapes, Stored, Tensors

THRESHOLD = 0.5


def _average_precision(predictions: LabelPredictions, targets: Arrays) -> Evidence:
    from edgekd.tasks.multilabel import evidence

    return evidence.average_precision(predictions, targets)


def _macro_f1(predictions: LabelPredictions, targets: Arrays) -> Evidence:
    from edgekd.tasks.multilabel import evidence

    return evidence.macro_f1(predictions, targets)


def _ap_type() -> type[Evidence]:
    from edgekd.tasks.multilabel.evidence import AveragePrecision

    return AveragePrecision


def _f1_type() -> type[Evidence]:
    from edgekd.tasks.multilabel.evidence import MacroF1

    return MacroF1


@dataclass(frozen=True)
class Multilabel(WholeNumbers):
    """Each sample has any number of the labels ``names``.

    Outputs: ``logits`` (N, labels). Targets: ``labels`` (N, labels) of 0 and 1; ``known`` (N, labels), optional.

    Attributes:
        thresholds: the probability from which on each label is predicted, 0.5 for all if left out;
            :func:`edgekd.tasks.multilabel.score.best_thresholds` finds them on validation samples.
        positive_weights: how many times as much a sample with the label counts in the loss, for each label; 1 if left
            out.

    Raises:
        ModelError: there are not as many thresholds or weights as labels, or they are out of their range.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...] | None = None
    positive_weights: tuple[float, ...] | None = None

    name: ClassVar[str] = "multilabel"
    outputs: ClassVar[str] = "labels"
    kind_of_names: ClassVar[str] = "labels"
    pipeline_tags: ClassVar[Mapping[str, str]] = {"image": "image-classification", "vector": "tabular-classification"}
    breakdown_key: ClassVar[str | None] = "by_label"
    decoder_options: ClassVar[Mapping[str, DecoderOption]] = {}
    hard_weight: ClassVar[float] = 0.1
    metrics: ClassVar[Sequence[Metric]] = (
        Metric("map", "mean average precision", "%", "higher", "bootstrap", _average_precision, _ap_type),
        Metric("macro_f1", "macro F1", "%", "higher", "bootstrap", _macro_f1, _f1_type),
    )

    def __post_init__(self) -> None:
        for field, high in (("thresholds", 1.0), ("positive_weights", float("inf"))):
            values = getattr(self, field)
            if values is None:
                continue
            if len(values) != len(self.names) or not all(0 < value < high for value in values):
                bounds = "above 0 and below 1" if high == 1 else "above 0"
                raise ModelError(f"{field} are {list(values)}; expected {len(self.names)} numbers {bounds}")
            object.__setattr__(self, field, tuple(values))

    @property
    def output_shapes(self) -> Mapping[str, OutputShapes]:
        return {LOGITS: ((len(self.names),),)}

    @classmethod
    def read_targets(cls, raw: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
        from edgekd.tasks.multilabel import targets

        return targets.read_targets(raw, count, where)

    @classmethod
    def numbered(cls, stored: NDArray[np.int64], where: str) -> tuple[str, ...]:
        from edgekd.tasks.multilabel import targets

        return targets.numbered(stored, where)

    @classmethod
    def known(cls, stored: NDArray[np.int64]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = stored.max(1) >= 0
        return found

    def adapted(self, stored: NDArray[np.int64], size: tuple[int, int] | None = None) -> Multilabel:
        return self

    def must_be_named(self, stored: NDArray[np.int64], where: str) -> None:
        from edgekd.tasks.multilabel import targets

        targets.must_be_named(stored, self.names, where)

    def must_be_learnable(self, stored: NDArray[np.int64], where: object, advice: str = "") -> None:
        from edgekd.tasks.multilabel import targets

        targets.must_be_learnable(stored, self.names, where, advice)

    @classmethod
    def must_be_measurable(cls, stored: NDArray[np.int64], part: str, where: object) -> None:
        if not (stored > 0).any():
            raise nothing_to_measure(f"no {part} sample is known to have any label", part, where)

    def describe(self, stored: NDArray[np.int64]) -> str:
        from edgekd.tasks.multilabel import targets

        return targets.describe(stored, self.names)

    def targets(self, stored: Stored) -> dict[str, Stored]:
        return {"labels": stored, "known": stored >= 0}  # type: ignore[operator,dict-item]

    def reduction(self, shapes: Mapping[str, tuple[int, ...]]) -> OutputReduction:
        from edgekd.tasks.reduction import OutputReduction

        return OutputReduction("all")

    def to_rows(self, outputs: Arrays) -> NDArray[Any]:
        return outputs[LOGITS].astype("float32")

    def from_rows(self, rows: NDArray[Any]) -> LabelPredictions:
        return self.decode({LOGITS: rows})

    def is_finite(self, rows: NDArray[Any]) -> bool:
        import numpy as np

        return bool(np.isfinite(rows).all())

    def check(self, signature: Signature, targets: Arrays) -> None:
        must_give_logits(signature, self.output_shapes[LOGITS], "label")
        self.check_targets(targets)

    def check_targets(self, targets: Arrays) -> None:
        from edgekd.tasks.multilabel import score

        score.must_be_labels(targets, len(self.names))

    def check_outputs(self, outputs: Tensors, network: str) -> None:
        from edgekd.tasks.multilabel import train

        train.must_be_logits(outputs[LOGITS], network)

    def warnings(self, targets: Arrays) -> list[str]:
        from edgekd.tasks.multilabel import score

        left_out = [self.names[label] for label in score.without_positives(targets)]
        if not left_out:
            return []
        return [f"no sample is known to have {', '.join(map(repr, left_out))}: mAP and macro F1 leave these labels out"]

    def strata(self, targets: Arrays) -> NDArray[np.int64] | None:
        return None

    def loss(self, outputs: Tensors, targets: Tensors, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        from edgekd.tasks.multilabel import train

        found = train.binary_cross_entropy(
            outputs[LOGITS], targets["labels"], targets.get("known"), self.positive_weights, label_smoothing
        )
        return {"labels": found}

    def soft_loss(
        self, student: Tensors, teacher: Tensors, targets: Tensors, temperature: float | None = None
    ) -> dict[str, Tensor]:
        from edgekd.tasks.multilabel import train

        found = train.mld_loss(student[LOGITS], teacher[LOGITS], 1.0 if temperature is None else temperature)
        return {"teacher": found}

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        from edgekd.tasks.multilabel import train

        return train.divergence(outputs[LOGITS], reference[LOGITS])

    def fitted(self, outputs: Callable[[], Arrays], targets: Arrays) -> Multilabel:
        from edgekd.tasks.multilabel import score

        best = score.best_thresholds(score.sigmoid(outputs()[LOGITS]), targets)
        return replace(self, thresholds=tuple(best))

    def decode(self, outputs: Arrays) -> LabelPredictions:
        from edgekd.tasks.multilabel import score

        return score.decode(outputs[LOGITS], self._thresholds)

    def details(self, outputs: Arrays, targets: Arrays) -> LabelDetails:
        from edgekd.tasks.multilabel import evidence

        return evidence.details(self.decode(outputs), targets)

    def breakdown(
        self, before: NamedPredictions, after: NamedPredictions, targets: Arrays, runtime: str,
        pictures: Pictures | None = None,
    ) -> ByLabel:  # fmt: skip
        from edgekd.tasks.multilabel.by_label import by_label

        return by_label(before, after, targets, self.names, runtime)

    @staticmethod
    def breakdown_from_json(document: JsonObject) -> ByLabel:
        from edgekd.tasks.multilabel.by_label import ByLabel

        return ByLabel.from_json(document)

    def decoder(self) -> JsonObject:
        return {"thresholds": list(self._thresholds)}

    def agree(self, ours: LabelPredictions, theirs: LabelPredictions) -> NDArray[np.bool_]:
        return (ours.labels == theirs.labels).all(1)

    def settled(self, outputs: Arrays, tolerances: Mapping[str, float]) -> NDArray[np.bool_]:
        from edgekd.tasks.multilabel import score

        return score.settled(outputs[LOGITS], self._thresholds, tolerances[LOGITS])

    def describe_outputs(self, outputs: Mapping[str, OutputShape]) -> str:
        pairs = zip(self.names, self._thresholds, strict=True)
        thresholds = ", ".join(f"{name} {value:.6g}" for name, value in pairs)
        return (
            "one logit per label; a label is predicted where 1 / (1 + exp(−logit)) is at least its threshold: "
            f"{thresholds}"
        )

    def code(self, language: Language, outputs: Mapping[str, OutputShape] | None = None, of_image: bool = True) -> str:
        from edgekd.tasks.multilabel import score

        return score.code(language, self._thresholds)

    def sample_predictions(
        self, predictions: LabelPredictions, top: int = 3, geometry: Sequence[Geometry] | None = None
    ) -> list[PredictedLabels]:
        from edgekd.tasks.multilabel import score

        return score.sample_predictions(predictions, self.names, top)

    @property
    def _thresholds(self) -> tuple[float, ...]:
        return self.thresholds or (THRESHOLD,) * len(self.names)
