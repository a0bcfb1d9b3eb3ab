"""A class for each pixel: softmax along the classes, cross-entropy and Dice loss, mean IoU of the whole set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgekd.errors import DataError, ModelError
from edgekd.tasks.logits import must_give_logits
from edgekd.tasks.metric import Evidence, Metric, SharedEvidence
from edgekd.tasks.signature import LOGITS, Signature
from edgekd.tasks.stored import must_have_known

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto
    from torch import Tensor

    from edgekd.geometry import Geometry, Tile
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.breakdown import NamedPredictions, Pictures
    from edgekd.tasks.reduction import OutputReduction
    from edgekd.tasks.segmentation.by_class import MaskBreakdown
    from edgekd.tasks.segmentation.evidence import MaskDetails
    from edgekd.tasks.segmentation.score import MaskPredictions, PredictedMask
    from edgekd.tasks.task import Arrays, DecoderOption, Language, OutputShape, OutputShapes, Stored, Tensors

    Masks = NDArray[np.uint8]

IGNORED = 255


def _overlaps(predictions: MaskPredictions, targets: Arrays) -> Sequence[NDArray[np.int64]]:
    from edgekd.tasks.segmentation import evidence

    return evidence.overlaps(predictions, targets)


def _mean_iou(counts: Sequence[NDArray[np.int64]]) -> Evidence:
    from edgekd.tasks.segmentation.evidence import MeanIoU

    return MeanIoU(*counts)


def _mean_dice(counts: Sequence[NDArray[np.int64]]) -> Evidence:
    from edgekd.tasks.segmentation.evidence import MeanDice

    return MeanDice(*counts)


def _boundary_f1(predictions: MaskPredictions, targets: Arrays) -> Evidence:
    from edgekd.tasks.segmentation import evidence

    return evidence.boundary_f1(predictions, targets)


def _iou_type() -> type[Evidence]:
    from edgekd.tasks.segmentation.evidence import MeanIoU

    return MeanIoU


def _dice_type() -> type[Evidence]:
    from edgekd.tasks.segmentation.evidence import MeanDice

    return MeanDice


def _boundary_type() -> type[Evidence]:
    from edgekd.tasks.segmentation.evidence import BoundaryF1

    return BoundaryF1


@dataclass(frozen=True)
class Segmentation:
    """Each pixel belongs to one of the classes ``names``.

    Outputs: ``logits`` (N, classes, H, W), of the masks' size; classes of smaller ones are enlarged to the nearest, so
    that a network had better interpolate its logits itself, as torchvision's do. Targets: ``classes`` (N, H, W), uint8;
    ``known`` (N, H, W), where a pixel counts. Data sets store masks (N, H, W), 255 where a pixel does not count.

    Attributes:
        dice_weight: of the Dice loss, next to the cross-entropy's 1.

    Raises:
        ModelError: an option is out of its range.
    """

    names: tuple[str, ...]
    dice_weight: float = 1.0

    name: ClassVar[str] = "segmentation"
    outputs: ClassVar[str] = "masks"
    kind_of_names: ClassVar[str] = "classes"
    pipeline_tags: ClassVar[Mapping[str, str]] = {"image": "image-segmentation"}
    breakdown_key: ClassVar[str | None] = "by_mask_class"
    decoder_options: ClassVar[Mapping[str, DecoderOption]] = {}
    hard_weight: ClassVar[float] = 0.1
    decoded_output: ClassVar[str] = "`classes` (batch, height, width): the class of each position"
    metrics: ClassVar[Sequence[Metric]] = (
        Metric("miou", "mean IoU", "%", "higher", "bootstrap", SharedEvidence(_overlaps, _mean_iou), _iou_type),
        Metric("mdice", "mean Dice", "%", "higher", "bootstrap", SharedEvidence(_overlaps, _mean_dice), _dice_type),
        Metric("boundary_f1", "boundary F1", "%", "higher", "bootstrap", _boundary_f1, _boundary_type),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.dice_weight < float("inf"):
            raise ModelError(f"dice_weight is {self.dice_weight}; expected a number of at least 0")

    @property
    def output_shapes(self) -> Mapping[str, OutputShapes]:
        return {LOGITS: ((len(self.names), None, None),)}

    @classmethod
    def read_targets(cls, raw: NDArray[Any], count: int, where: str) -> Masks:
        from edgekd.tasks.segmentation import masks

        return masks.read_targets(raw, count, where)

    @classmethod
    def numbered(cls, stored: Masks, where: str) -> tuple[str, ...]:
        from edgekd.tasks.segmentation import masks

        return masks.numbered(stored, where)

    @classmethod
    def known(cls, stored: Masks) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (stored != IGNORED).any((1, 2))
        return found

    @classmethod
    def unknown(cls, like: Masks, count: int) -> Masks:
        import numpy as np

        return np.full((count, *like.shape[1:]), IGNORED, np.uint8)

    @classmethod
    def contradict(cls, ours: Masks, theirs: Masks) -> bool:
        return bool(((ours != IGNORED) & (theirs != IGNORED) & (ours != theirs)).any())

    @classmethod
    def move_targets(cls, stored: Masks, geometry: Geometry) -> Masks:
        return geometry.resample(stored, IGNORED)

    @classmethod
    def join_targets(cls, stored: Masks, tiles: Sequence[Tile]) -> Masks:
        import numpy as np

        found = np.full_like(stored, IGNORED)
        for tile in tiles:
            seen = tile.geometry.resample(stored[tile.rows], IGNORED)
            found = np.where(seen == IGNORED, found, seen)
        return found

    def adapted(self, stored: Masks, size: tuple[int, int] | None = None) -> Segmentation:
        return self

    def must_be_named(self, stored: Masks, where: str) -> None:
        from edgekd.tasks.segmentation import masks

        masks.must_be_named(stored, self.names, where)

    def must_fit(self, stored: NDArray[Any], size: tuple[int, int], where: str) -> None:
        return

    def must_be_learnable(self, stored: Masks, where: object, advice: str = "") -> None:
        from edgekd.tasks.segmentation import masks

        masks.must_be_learnable(stored, self.names, where, advice)

    @classmethod
    def must_be_measurable(cls, stored: Masks, part: str, where: object) -> None:
        must_have_known(cls.known(stored), part, where)

    def describe(self, stored: Masks) -> str:
        from edgekd.tasks.segmentation import masks

        return masks.describe(stored, self.names)

    def targets(self, stored: Stored) -> dict[str, Stored]:
        # Below 0 as well, in arrays that no data set has read, such as those that a bundle is scored by.
        pixels: Any = stored
        return {"classes": stored, "known": (pixels != IGNORED) & (pixels >= 0)}

    def reduction(self, shapes: Mapping[str, tuple[int, ...]]) -> OutputReduction:
        from edgekd.tasks.reduction import OutputReduction

        return OutputReduction("classes")

    def to_rows(self, outputs: Arrays) -> NDArray[Any]:
        return self.decode(outputs).classes

    def from_rows(self, rows: NDArray[Any]) -> MaskPredictions:
        from edgekd.tasks.segmentation import score

        return score.of_rows(rows, len(self.names))

    def is_finite(self, rows: NDArray[Any]) -> bool:
        return bool(((rows >= 0) & (rows != IGNORED)).all())

    def check(self, signature: Signature, targets: Arrays) -> None:
        must_give_logits(signature, self.output_shapes[LOGITS], "class at each position")
        self.check_targets(targets)

    def check_targets(self, targets: Arrays) -> None:
        classes = targets["classes"]
        if classes.ndim != 3 or not classes.size or classes.dtype.kind not in "biu":
            raise DataError(f"masks are {classes.dtype} {classes.shape}, expected a class for each pixel: (N, H, W)")
        known = classes[targets["known"]]
        if known.size and known.max() >= len(self.names):
            raise DataError(f"masks have the class {known.max()}, and there are the classes 0 to {len(self.names) - 1}")

    def check_outputs(self, outputs: Tensors, network: str) -> None:
        from edgekd.tasks.segmentation import train

        train.must_be_logits(outputs[LOGITS], network)

    def warnings(self, targets: Arrays) -> list[str]:
        import numpy as np

        from edgekd.tasks.segmentation import masks

        stored = np.where(targets["known"], targets["classes"], IGNORED).astype(np.uint8)
        left_out = [self.names[each] for each in masks.absent(stored, len(self.names))]
        if not left_out:
            return []
        return [
            f"no pixel is known to be {', '.join(map(repr, left_out))}: mean IoU, Dice and boundary F1 leave such a "
            "class out, or count it as 0 if it is predicted"
        ]

    def strata(self, targets: Arrays) -> NDArray[np.int64] | None:
        return None

    def loss(self, outputs: Tensors, targets: Tensors, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        from edgekd.tasks.segmentation import train

        given = outputs[LOGITS], targets["classes"], targets["known"]
        terms = {"labels": train.cross_entropy(*given, label_smoothing)}
        return {**terms, "dice": self.dice_weight * train.dice_loss(*given)} if self.dice_weight else terms

    def soft_loss(
        self, student: Tensors, teacher: Tensors, targets: Tensors, temperature: float | None = None
    ) -> dict[str, Tensor]:
        from edgekd.tasks.segmentation import train

        usual = 1.0 if temperature is None else temperature
        return {"teacher": train.pixel_kd_loss(student[LOGITS], teacher[LOGITS], usual)}

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        from edgekd.tasks.segmentation import train

        return train.divergence(outputs[LOGITS], reference[LOGITS])

    def fitted(self, outputs: Callable[[], Arrays], targets: Arrays) -> Segmentation:
        return self

    def decode(self, outputs: Arrays) -> MaskPredictions:
        from edgekd.tasks.segmentation import score

        return score.decode(outputs[LOGITS])

    def decoded_graph(self, model: ModelProto) -> ModelProto:
        from edgekd.tasks.segmentation import score

        return score.with_classes(model)

    def same_decoded(self, rows: NDArray[Any], outputs: Arrays, rounding: float) -> tuple[NDArray[np.bool_], int]:
        from edgekd.tasks.segmentation import score

        return score.same_classes(rows, outputs[LOGITS], rounding)

    def details(self, outputs: Arrays, targets: Arrays) -> MaskDetails:
        from edgekd.tasks.segmentation import evidence

        return evidence.details(self.decode(outputs), targets)

    def breakdown(
        self, before: NamedPredictions, after: NamedPredictions, targets: Arrays, runtime: str,
        pictures: Pictures | None = None,
    ) -> MaskBreakdown:  # fmt: skip
        from edgekd.tasks.segmentation.by_class import by_class

        return by_class(before, after, targets, self.names, runtime, pictures)

    @staticmethod
    def breakdown_from_json(document: JsonObject) -> MaskBreakdown:
        from edgekd.tasks.segmentation.by_class import MaskBreakdown

        return MaskBreakdown.from_json(document)

    def decoder(self) -> dict[str, str]:
        return {}

    def agree(self, ours: MaskPredictions, theirs: MaskPredictions) -> NDArray[np.bool_]:
        from edgekd.tasks.segmentation import score

        return score.agree(ours, theirs)

    def settled(self, outputs: Arrays, tolerances: Mapping[str, float]) -> NDArray[np.bool_]:
        from edgekd.tasks.segmentation import score

        return score.settled(outputs[LOGITS], tolerances[LOGITS])

    def describe_outputs(self, outputs: Mapping[str, OutputShape]) -> str:
        return (
            "one logit per class for each position; a pixel has the class of its largest logit, and where the image is "
            "larger than the logits, that of the nearest position"
        )

    def code(self, language: Language, outputs: Mapping[str, OutputShape] | None = None, of_image: bool = True) -> str:
        from edgekd.tasks.segmentation import score

        return score.CODE[language] if of_image else ""

    def sample_predictions(
        self, predictions: MaskPredictions, top: int = 3, geometry: Sequence[Geometry] | None = None
    ) -> list[PredictedMask]:
        from edgekd.tasks.segmentation import score

        return score.sample_predictions(predictions, self.names, geometry)
