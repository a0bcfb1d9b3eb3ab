"""Boxes with classes in images: mean average precision as COCO has it, and the operating point of the user."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgekd.errors import ModelError
from edgekd.ranges import SHARE, SHARE_OR_ALL, SHARE_OR_NONE, Range
from edgekd.tasks.detection.metrics import METRICS
from edgekd.tasks.signature import LOGITS, Signature
from edgekd.tasks.task import DecoderOption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto
    from torch import Tensor

    from edgekd.geometry import Geometry, Tile
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.breakdown import NamedPredictions, Pictures
    from edgekd.tasks.detection.by_class import DetectionByClass
    from edgekd.tasks.detection.decode import DecoderOptions, DetectedBoxes
    from edgekd.tasks.detection.operating_point import OperatingDetails
    from edgekd.tasks.detection.score import PredictedBoxes
    from edgekd.tasks.metric import Metric
    from edgekd.tasks.reduction import OutputReduction
    from edgekd.tasks.task import Arrays, Language, OutputShape, OutputShapes, Stored, Tensors


@dataclass(frozen=True)
class Detection:
    """Each image has any number of objects, each with a box and one of the classes ``names``.

    Outputs: heads of any known kind, see :mod:`edgekd.tasks.detection.outputs`; their names say how they are decoded,
    so that teacher and student may be of different families. Targets: ``boxes`` (N, M, 4), corners in pixels of the
    network's input, ``classes`` (N, M) with −1 where there is no object, and optionally ``crowd`` and ``difficult``
    (N, M), which objects count neither as found nor as missed.

    Attributes:
        score: the least probability of a box, in [0, 1).
        iou: boxes of one class that overlap a better one by more are suppressed, in (0, 1].
        detections: the most boxes of an image.
        candidates: the most boxes of an image that suppression looks at.
        threshold: the probability from which on the user acts on a box, in (0, 1).
        categories: the ids of ``names`` in the annotations that they are from; 1, 2, ... where left out.

    Raises:
        ModelError: an option is out of its range, or there are not as many ids as names.
    """

    names: tuple[str, ...]
    score: float = 0.05
    iou: float = 0.6
    detections: int = 100
    candidates: int = 1000
    threshold: float = 0.5
    categories: tuple[int | str, ...] | None = None

    name: ClassVar[str] = "detection"
    outputs: ClassVar[str] = "boxes"
    kind_of_names: ClassVar[str] = "classes"
    pipeline_tags: ClassVar[Mapping[str, str]] = {"image": "object-detection"}
    breakdown_key: ClassVar[str | None] = "by_box_class"
    decoder_options: ClassVar[Mapping[str, DecoderOption]] = {
        "threshold": DecoderOption(SHARE, "the score from which on you act on a box: 0.5 when left out", False),
        "iou": DecoderOption(SHARE_OR_ALL, "boxes that overlap a better one of their class by more are dropped: 0.6"),
        "detections": DecoderOption(Range(1, 1000, whole=True), "the most boxes of an image: 100"),
        "score": DecoderOption(SHARE_OR_NONE, "boxes of no higher score are dropped: 0.05"),
        "candidates": DecoderOption(Range(1, 100_000, whole=True), "the most that iou is applied to, the best: 1000"),
    }
    # A teacher's loss says little of where nothing is, and long trainings with 0.1 lose several points of box mAP.
    hard_weight: ClassVar[float] = 0.5
    decoded_output: ClassVar[str] = (
        "`detections` (batch, boxes, 6): corners x1, y1, x2, y2 in pixels of the network's image, score, and class, −1 "
        "where there is no box"
    )
    metrics: ClassVar[Sequence[Metric]] = METRICS

    def __post_init__(self) -> None:
        for name, option in self.decoder_options.items():
            if (value := getattr(self, name)) not in option.values:
                raise ModelError(f"{name} of the detector's decoder is {value}; give {option.values}")
        if self.threshold < self.score:
            raise ModelError(
                f"threshold of the detector's decoder is {self.threshold:g}, and it drops boxes below its score, "
                f"{self.score:g}: raise the threshold, or lower score"
            )
        if self.categories is not None:
            own = tuple(self.categories)
            if len(set(own)) != len(self.names) or len(own) != len(self.names):
                raise ModelError(f"categories of the detector's decoder are {list(own)}; give an id for each class")
            object.__setattr__(self, "categories", None if own == self._numbered else own)

    @property
    def output_shapes(self) -> Mapping[str, OutputShapes]:
        return {}

    @classmethod
    def read_targets(cls, raw: NDArray[Any], count: int, where: str) -> NDArray[np.float32]:
        from edgekd.tasks.detection import targets

        return targets.read_targets(raw, count, where)

    @classmethod
    def numbered(cls, stored: NDArray[Any], where: str) -> tuple[str, ...]:
        from edgekd.tasks.detection import targets

        return targets.numbered(stored, where)

    @classmethod
    def known(cls, stored: NDArray[Any]) -> NDArray[np.bool_]:
        from edgekd.tasks.detection import targets

        return targets.known(stored)

    @classmethod
    def unknown(cls, like: NDArray[Any], count: int) -> NDArray[np.float32]:
        from edgekd.tasks.detection import targets

        return targets.unknown(like, count)

    @classmethod
    def contradict(cls, ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
        from edgekd.tasks.detection import targets

        return targets.contradict(ours, theirs)

    @classmethod
    def move_targets(cls, stored: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
        from edgekd.tasks.detection import targets

        return targets.moved(stored, geometry)

    @classmethod
    def join_targets(cls, stored: NDArray[Any], tiles: Sequence[Tile]) -> NDArray[Any]:
        from edgekd.tasks.detection import targets

        return targets.joined(stored, tiles)

    def adapted(self, stored: NDArray[Any], size: tuple[int, int] | None = None) -> Detection:
        return self

    def must_be_named(self, stored: NDArray[Any], where: str) -> None:
        from edgekd.tasks.detection import targets

        targets.must_be_named(stored, self.names, where)

    def must_fit(self, stored: NDArray[Any], size: tuple[int, int], where: str) -> None:
        from edgekd.tasks.detection import targets

        targets.must_fit(stored, size, where)

    def must_be_learnable(self, stored: NDArray[Any], where: object, advice: str = "") -> None:
        from edgekd.tasks.detection import targets

        targets.must_be_learnable(stored, self.names, where, advice)

    @classmethod
    def must_be_measurable(cls, stored: NDArray[Any], part: str, where: object) -> None:
        from edgekd.tasks.detection import targets

        targets.must_be_measurable(stored, part, where)

    def describe(self, stored: NDArray[Any]) -> str:
        from edgekd.tasks.detection import targets

        return targets.describe(stored, self.names)

    def targets(self, stored: Stored) -> dict[str, Stored]:
        from edgekd.tasks.detection import targets

        return targets.by_name(stored)

    def merged(self, outputs: Arrays) -> NDArray[np.float32]:
        """Return the common form (N, positions, 4 + classes) of outputs, or of what is in it already."""
        from edgekd.tasks.detection import outputs as heads

        return outputs[LOGITS] if LOGITS in outputs else heads.merged(outputs, len(self.names))

    def reduction(self, shapes: Mapping[str, tuple[int, ...]]) -> OutputReduction:
        from edgekd.tasks.detection import outputs as heads

        return heads.reduction(shapes, len(self.names), self.score)

    def to_rows(self, outputs: Arrays) -> NDArray[np.float32]:
        from edgekd.tasks.detection import decode

        return decode.to_rows(self.merged(outputs), self._options)

    def from_rows(self, rows: NDArray[Any]) -> DetectedBoxes:
        from edgekd.tasks.detection import decode

        return decode.from_rows(rows, len(self.names), self.threshold)

    def is_finite(self, rows: NDArray[Any]) -> bool:
        import numpy as np

        return bool(np.isfinite(rows).all())

    def check(self, signature: Signature, targets: Arrays) -> None:
        import numpy as np

        shapes = {
            each.name: (1, *(size if isinstance(size, int) else 1 for size in each.shape)) for each in signature.outputs
        }
        self.must_have_classes(self.merged({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}))
        self.check_targets(targets)

    def check_targets(self, targets: Arrays) -> None:
        from edgekd.tasks.detection import targets as objects

        objects.must_be_boxes(targets, len(self.names))

    def check_outputs(self, outputs: Tensors, network: str) -> None:
        from edgekd.tasks.detection import train

        common = train.merged(outputs, len(self.names))
        self.must_have_classes(common, network)
        train.must_be_logits(common, network)

    def warnings(self, targets: Arrays) -> list[str]:
        import numpy as np

        from edgekd.tasks.detection import targets as objects

        there = np.unique(targets["classes"][objects.counted(targets)])
        left_out = [name for index, name in enumerate(self.names) if index not in there]
        if not left_out:
            return []
        return [f"no image has an object of {', '.join(map(repr, left_out))}: box mAP leaves these classes out"]

    def strata(self, targets: Arrays) -> NDArray[np.int64] | None:
        from edgekd.tasks.detection import targets as objects

        return objects.strata(targets)

    def loss(self, outputs: Tensors, targets: Tensors, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        from edgekd.tasks.detection import train

        train.must_not_smooth(label_smoothing)
        return train.detection_loss(outputs, targets, len(self.names))

    def soft_loss(
        self, student: Tensors, teacher: Tensors, targets: Tensors, temperature: float | None = None,
        box_temperature: float | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Return the losses of scores and of boxes; of boxes' distributions over bins with a ``box_temperature``."""
        from edgekd.tasks.detection import train

        softness = 1.0 if temperature is None else temperature
        return train.distillation_loss(student, teacher, len(self.names), softness, box_temperature)

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        from edgekd.tasks.detection import train

        return train.divergence(outputs, reference, len(self.names))

    def fitted(self, outputs: Callable[[], Arrays], targets: Arrays) -> Detection:
        return self  # the threshold is the user's

    def decode(self, outputs: Arrays) -> DetectedBoxes:
        return self.from_rows(self.to_rows(outputs))

    def decoded_graph(self, model: ModelProto) -> ModelProto:
        from edgekd.tasks.detection import in_graph

        return in_graph.with_detections(model, len(self.names), self._options)

    def same_decoded(self, rows: NDArray[Any], outputs: Arrays, rounding: float) -> tuple[NDArray[np.bool_], int]:
        from edgekd.tasks.detection.same_rows import same_rows

        return same_rows(rows, self.to_rows(outputs), self._options, rounding)

    def details(self, outputs: Arrays, targets: Arrays) -> OperatingDetails:
        from edgekd.tasks.detection import operating_point

        return operating_point.details(self.decode(outputs), targets)

    def breakdown(
        self, before: NamedPredictions, after: NamedPredictions, targets: Arrays, runtime: str,
        pictures: Pictures | None = None,
    ) -> DetectionByClass:  # fmt: skip
        from edgekd.tasks.detection.by_class import by_class

        return by_class(before, after, targets, self.names, runtime, pictures)

    @staticmethod
    def breakdown_from_json(document: JsonObject) -> DetectionByClass:
        from edgekd.tasks.detection.by_class import DetectionByClass

        return DetectionByClass.from_json(document)

    def decoder(self) -> dict[str, object]:
        own = {} if self.categories is None else {"categories": list(self.categories)}
        return {**asdict(self._options), **own}

    def agree(self, ours: DetectedBoxes, theirs: DetectedBoxes) -> NDArray[np.bool_]:
        from edgekd.tasks.detection import score

        return score.agree(ours, theirs)

    def settled(self, outputs: Arrays, tolerances: Mapping[str, float]) -> NDArray[np.bool_]:
        from edgekd.tasks.detection import outputs as heads
        from edgekd.tasks.detection import score

        of_scores = max(value for name, value in tolerances.items() if heads.has_scores(name))
        tolerance = heads.reach_of_scores(outputs, len(self.names)) * of_scores
        return score.settled(self.merged(outputs), self.threshold, tolerance)

    def describe_outputs(self, outputs: Mapping[str, OutputShape]) -> str:
        return (
            "boxes and a logit for each class at every position, decoded by the outputs' names; kept are boxes of a "
            f"probability above {self.score:g}, of those of one class that overlap by more than {self.iou:g} the best, "
            f"{self.detections} an image; act on those from {self.threshold:g} on"
        )

    def code(self, language: Language, outputs: Mapping[str, OutputShape] | None = None, of_image: bool = True) -> str:
        from edgekd.tasks.detection import code

        return code.python(list(outputs or ()), self._options) if language == "python" and of_image else ""

    def sample_predictions(
        self, predictions: DetectedBoxes, top: int = 3, geometry: Sequence[Geometry] | None = None
    ) -> list[PredictedBoxes]:
        from edgekd.tasks.detection import score

        return score.sample_predictions(predictions, self.names, self.categories or self._numbered, geometry)

    def results(self, found: Iterable[tuple[str, PredictedBoxes]], annotations: Path) -> Iterator[dict[str, object]]:
        from edgekd.tasks.detection.annotations.results import coco_results

        return coco_results(found, self.names, annotations)

    def must_have_classes(self, common: Any, network: str = "the network") -> None:
        """Refuse the common form of another number of classes: ModelError."""
        if (found := common.shape[-1] - 4) != len(self.names):
            raise ModelError(
                f"{network} gives scores of {found} classes, and there are {len(self.names)}: {', '.join(self.names)}"
            )

    @property
    def _numbered(self) -> tuple[int, ...]:
        return tuple(range(1, 1 + len(self.names)))

    @property
    def _options(self) -> DecoderOptions:
        from edgekd.tasks.detection.decode import DecoderOptions

        return DecoderOptions(self.score, self.iou, self.detections, self.candidates, self.threshold)
