"""One class for each sample: softmax, cross-entropy, accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgekd.tasks.logits import must_give_logits
from edgekd.tasks.metric import Correct, Metric
from edgekd.tasks.signature import LOGITS, Signature
from edgekd.tasks.stored import WholeNumbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from edgekd.geometry import Geometry
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.breakdown import NamedPredictions, Pictures
    from edgekd.tasks.classification.by_class import ByClass
    from edgekd.tasks.classification.score import ClassDetails, ClassPredictions, PredictedClass
    from edgekd.tasks.reduction import OutputReduction
    from edgekd.tasks.task import Arrays, DecoderOption, Language, OutputShape, OutputShapes, Stored, Tensors


def _correct(predictions: ClassPredictions, targets: Arrays) -> Correct:
    from edgekd.tasks.classification import score

    return Correct(score.correct(predictions, targets))


@dataclass(frozen=True)
class Classification(WholeNumbers):
    """Each sample belongs to one of the classes ``names``.

    Outputs: ``logits`` (N, classes). Targets: ``classes`` (N,), whole numbers from 0; ``known`` (N,), optional.
    """

    names: tuple[str, ...]

    name: ClassVar[str] = "classification"
    outputs: ClassVar[str] = "classes"
    kind_of_names: ClassVar[str] = "classes"
    pipeline_tags: ClassVar[Mapping[str, str]] = {"image": "image-classification", "vector": "tabular-classification"}
    breakdown_key: ClassVar[str | None] = "by_class"
    decoder_options: ClassVar[Mapping[str, DecoderOption]] = {}
    hard_weight: ClassVar[float] = 0.1
    metrics: ClassVar[Sequence[Metric]] = (
        Metric("accuracy", "accuracy", "%", "higher", "mcnemar", _correct, lambda: Correct),
    )

    @property
    def output_shapes(self) -> Mapping[str, OutputShapes]:
        return {LOGITS: ((len(self.names),),)}

    @classmethod
    def read_targets(cls, raw: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
        from edgekd.tasks.classification import targets

        return targets.read_targets(raw, count, where)

    @classmethod
    def numbered(cls, stored: NDArray[np.int64], where: str) -> tuple[str, ...]:
        from edgekd.tasks.classification import targets

        return targets.numbered(stored, where)

    @classmethod
    def known(cls, stored: NDArray[np.int64]) -> NDArray[np.bool_]:
        return stored >= 0

    def adapted(self, stored: NDArray[np.int64], size: tuple[int, int] | None = None) -> Classification:
        return self

    def must_be_named(self, stored: NDArray[np.int64], where: str) -> None:
        from edgekd.tasks.classification import targets

        targets.must_be_named(stored, self.names, where)

    def must_be_learnable(self, stored: NDArray[np.int64], where: object, advice: str = "") -> None:
        from edgekd.tasks.classification import targets

        targets.must_be_learnable(stored, self.names, where, advice)

    def describe(self, stored: NDArray[np.int64]) -> str:
        return repr(self.names[int(stored)])

    def targets(self, stored: Stored) -> dict[str, Stored]:
        return {"classes": stored, "known": stored >= 0}  # type: ignore[operator,dict-item]

    def reduction(self, shapes: Mapping[str, tuple[int, ...]]) -> OutputReduction:
        from edgekd.tasks.reduction import OutputReduction

        return OutputReduction("classes")

    def to_rows(self, outputs: Arrays) -> NDArray[Any]:
        from edgekd.tasks.classification import score

        return score.predicted_classes(outputs[LOGITS]).astype("int32")

    def from_rows(self, rows: NDArray[Any]) -> ClassPredictions:
        from edgekd.tasks.classification import score

        return score.ClassPredictions(rows)

    def is_finite(self, rows: NDArray[Any]) -> bool:
        return bool((rows >= 0).all())

    def check(self, signature: Signature, targets: Arrays) -> None:
        must_give_logits(signature, self.output_shapes[LOGITS], "class")
        self.check_targets(targets)

    def check_targets(self, targets: Arrays) -> None:
        from edgekd.tasks.classification import score

        score.must_be_classes(targets, len(self.names))

    def check_outputs(self, outputs: Tensors, network: str) -> None:
        from edgekd.tasks.classification import train

        train.must_be_logits(outputs[LOGITS], network)

    def warnings(self, targets: Arrays) -> list[str]:
        return []

    def strata(self, targets: Arrays) -> NDArray[np.int64] | None:
        classes: NDArray[np.int64] = targets["classes"]
        return None if "known" in targets and not targets["known"].all() else classes

    def loss(self, outputs: Tensors, targets: Tensors, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        from edgekd.tasks.classification import train

        return {
            "labels": train.cross_entropy(outputs[LOGITS], targets["classes"], targets.get("known"), label_smoothing)
        }

    def soft_loss(
        self, student: Tensors, teacher: Tensors, targets: Tensors, temperature: float | None = None
    ) -> dict[str, Tensor]:
        from edgekd.tasks.classification import train

        return {"teacher": train.kd_loss(student[LOGITS], teacher[LOGITS], 4.0 if temperature is None else temperature)}

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        from edgekd.tasks.classification import train

        return train.divergence(outputs[LOGITS], reference[LOGITS])

    def fitted(self, outputs: Callable[[], Arrays], targets: Arrays) -> Classification:
        return self

    def decode(self, outputs: Arrays) -> ClassPredictions:
        from edgekd.tasks.classification import score

        return score.decode(outputs[LOGITS])

    def details(self, outputs: Arrays, targets: Arrays) -> ClassDetails:
        from edgekd.tasks.classification import score

        return score.details(outputs[LOGITS], targets)

    def breakdown(
        self, before: NamedPredictions, after: NamedPredictions, targets: Arrays, runtime: str,
        pictures: Pictures | None = None,
    ) -> ByClass:  # fmt: skip
        from edgekd.tasks.classification.by_class import by_class

        return by_class(before, after, targets, self.names, runtime)

    @staticmethod
    def breakdown_from_json(document: JsonObject) -> ByClass:
        from edgekd.tasks.classification.by_class import ByClass

        return ByClass.from_json(document)

    def decoder(self) -> JsonObject:
        return {}

    def agree(self, ours: ClassPredictions, theirs: ClassPredictions) -> NDArray[np.bool_]:
        return ours.classes == theirs.classes

    def settled(self, outputs: Arrays, tolerances: Mapping[str, float]) -> NDArray[np.bool_]:
        from edgekd.tasks.classification import score

        return score.settled(outputs[LOGITS], tolerances[LOGITS])

    def describe_outputs(self, outputs: Mapping[str, OutputShape]) -> str:
        return "one logit per class"

    def code(self, language: Language, outputs: Mapping[str, OutputShape] | None = None, of_image: bool = True) -> str:
        from edgekd.tasks.classification import score

        return score.CODE[language]

    def sample_predictions(
        self, predictions: ClassPredictions, top: int = 3, geometry: Sequence[Geometry] | None = None
    ) -> list[PredictedClass]:
        from edgekd.tasks.classification import score

        return score.sample_predictions(predictions, self.names, top)
