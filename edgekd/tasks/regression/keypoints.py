"""Points in images: a place in pixels for each name, which moves with the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from edgekd.errors import ModelError
from edgekd.ranges import COUNT, POSITIVE, Range
from edgekd.tasks.metric import Evidence, Metric
from edgekd.tasks.regression import Regression
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.task import DecoderOption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto
    from torch import Tensor

    from edgekd.geometry import Geometry
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.breakdown import NamedPredictions, Pictures
    from edgekd.tasks.reduction import OutputReduction
    from edgekd.tasks.regression.by_value import ByValue
    from edgekd.tasks.regression.points import PointDetails, PointPredictions, PredictedPoints
    from edgekd.tasks.task import Arrays, Language, OutputShape, OutputShapes, Tensors


def _metric(name: str, title: str, better: str, kind: str) -> Metric:
    def evidence(predictions: PointPredictions, targets: Arrays) -> Evidence:
        from edgekd.tasks.regression import points

        return points.evidence(find(), predictions, targets)

    def find() -> type[Evidence]:
        from edgekd.tasks.regression import points

        found: type[Evidence] = getattr(points, kind)
        return found

    return Metric(name, title, "%", better, "bootstrap", evidence, find)  # type: ignore[arg-type]


def _are_maps(outputs: Mapping[str, OutputShape]) -> bool:
    shape = outputs.get(LOGITS) or next(iter(outputs.values()), ())
    return len(shape) == 3


@dataclass(frozen=True)
class Keypoints(Regression):
    """Each image has the points ``names``, places (x, y) in pixels from the upper left corner of the network's image.

    Outputs: ``logits`` (N, 2 · points), x and y of each point in turn, standardised; or (N, points, h, w), a heat map
    of each point over the whole image, in which a network learns a Gaussian around it. Targets: ``values``
    (N, points, 2) in pixels; ``known`` likewise, optional. Points whose names differ in ``left`` and ``right`` alone
    change places where an image is mirrored.

    Attributes:
        mean, deviation: of x and y of each point in training.
        size: what distances are measured by, in pixels: the mean diagonal of the box around a training image's points.
        image: height and width of the network's image in pixels, without which heat maps are refused.
        sigma: of the Gaussians, in cells of a heat map. A recipe sets it as an option of the decoder.

    Raises:
        ModelError: as for :class:`Regression`, or ``size``, ``image`` or ``sigma`` is not above 0.
    """

    size: float = 1.0
    image: tuple[int, int] | None = None
    sigma: float = 1.0

    name: ClassVar[str] = "keypoints"
    kind_of_names: ClassVar[str] = "points"
    pipeline_tags: ClassVar[Mapping[str, str]] = {"image": "keypoint-detection"}
    breakdown_key: ClassVar[str | None] = "by_point"
    decoder_options: ClassVar[Mapping[str, DecoderOption]] = {
        "sigma": DecoderOption(
            Range(0, 100, open_low=True),
            "of the Gaussians that heat maps are learned as, in their cells: 1 when left out",
        ),
    }
    decoded_output: ClassVar[str] = (
        "`points` (batch, points, 3): x and y in pixels of the network's image, and the score"
    )
    metrics: ClassVar[Sequence[Metric]] = (
        _metric("nme", "normalised mean error", "lower", "MeanDistance"),
        _metric("pck", "correct keypoints", "higher", "CorrectPoints"),
        _metric("oks", "keypoint similarity", "higher", "PointSimilarity"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        POSITIVE.check(ModelError, size=self.size, sigma=self.sigma)
        if self.image is not None:
            if len(self.image) != 2 or not all(each in COUNT for each in self.image):
                raise ModelError(f"image is {self.image}; give its height and its width in pixels")
            object.__setattr__(self, "image", tuple(self.image))

    @property
    def _width(self) -> int:
        return 2 * len(self.names)

    @property
    def output_shapes(self) -> Mapping[str, OutputShapes]:
        return {LOGITS: ((self._width,), (len(self.names), None, None))}

    def _image_of_maps(self, logits: Any, network: str = "the network") -> tuple[int, int] | None:
        """Return the size of the image that heat maps cover, None for outputs that are none: ModelError."""
        if logits.ndim != 4:
            return None
        from edgekd.tasks.regression import heatmaps

        return heatmaps.must_be_maps(logits.shape, self.image, network)

    @classmethod
    def read_targets(cls, raw: NDArray[Any], count: int, where: str) -> NDArray[np.float32]:
        from edgekd.tasks.regression import points

        return points.read_targets(raw, count, where)

    @classmethod
    def numbered(cls, stored: NDArray[np.float32], where: str) -> tuple[str, ...]:
        return tuple(f"point {number}" for number in range(stored.shape[1]))

    def move_targets(self, stored: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
        from edgekd.tasks.regression import points

        return points.moved(stored, geometry, self.names)

    def adapted(self, stored: NDArray[np.float32], size: tuple[int, int] | None = None) -> Keypoints:
        from edgekd.tasks.regression import points

        return replace(super().adapted(stored), size=points.size_of(stored), image=size or self.image)

    def must_fit(self, stored: NDArray[Any], size: tuple[int, int], where: str) -> None:
        from edgekd.tasks.regression import points

        points.must_fit(stored, size, where)

    def reduction(self, shapes: Mapping[str, tuple[int, ...]]) -> OutputReduction:
        from edgekd.tasks.reduction import OutputReduction

        return OutputReduction("peaks") if _are_maps(shapes) else super().reduction(shapes)

    def to_rows(self, outputs: Arrays) -> NDArray[Any]:
        if (image := self._image_of_maps(outputs[LOGITS])) is None:
            return super().to_rows(outputs)
        from edgekd.tasks.regression import heatmaps

        return heatmaps.decode(outputs[LOGITS], image, self.sigma).astype("float32")

    def from_rows(self, rows: NDArray[Any]) -> PointPredictions:
        from edgekd.tasks.regression import points

        if rows.ndim == 2:
            return points.decode(rows, *self._scale, self.size)
        return points.of_maps(rows, self.size)

    def check_targets(self, targets: Arrays) -> None:
        from edgekd.tasks.regression import score

        score.must_be_values(targets, (len(self.names), 2))

    def check_outputs(self, outputs: Tensors, network: str) -> None:
        self._image_of_maps(outputs[LOGITS], network)

    def warnings(self, targets: Arrays) -> list[str]:
        return []

    def loss(self, outputs: Tensors, targets: Tensors, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        if (image := self._image_of_maps(outputs[LOGITS])) is None:
            return super().loss(outputs, targets, label_smoothing)
        from edgekd.tasks.regression import train

        train.must_not_smooth(label_smoothing)
        values = targets["values"]
        known = targets.get("known", values == values)
        return {"labels": train.heatmap_loss(outputs[LOGITS], values, known.all(-1), image, self.sigma)}

    def soft_loss(
        self, student: Tensors, teacher: Tensors, targets: Tensors, temperature: float | None = None
    ) -> dict[str, Tensor]:
        """Return the student's distance from the teacher's outputs, or from its points where both differ in kind.

        Between heat maps it is the mean squared error of Zhang, Zhu and Ye, "Fast Human Pose Estimation" (2019). Points
        that are not known count too.
        """
        from edgekd.tasks.regression import train

        ours, theirs = student[LOGITS], teacher[LOGITS]
        image = self._image_of_maps(ours)
        if ours.shape == theirs.shape:
            if image is None:
                return super().soft_loss(student, teacher, targets, temperature)
            return {"teacher": train.map_distances(ours, theirs, self.sigma).mean()}
        taught = self._places(theirs)
        if image is None:
            places = self._standardised({"values": taught})
            return super().soft_loss(student, {LOGITS: places}, targets, temperature)
        finite = taught.isfinite().all(-1)
        return {"teacher": train.heatmap_loss(ours, taught, finite, image, self.sigma)}

    def _places(self, logits: Tensor) -> Tensor:
        import torch

        found = self.decode({LOGITS: logits.detach().float().cpu().numpy()})
        return torch.from_numpy(found.values).to(logits.device, torch.float32)

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        if self._image_of_maps(outputs[LOGITS]) is None:
            return super().divergence(outputs, reference)
        from edgekd.tasks.regression import train

        return train.map_distances(outputs[LOGITS], reference[LOGITS], self.sigma).sum(1)

    def decode(self, outputs: Arrays) -> PointPredictions:
        return self.from_rows(self.to_rows(outputs))

    def decoded_graph(self, model: ModelProto) -> ModelProto:
        from edgekd.tasks.regression import heatmaps_in_graph

        return heatmaps_in_graph.with_points(model, self.image, self.sigma)

    def same_decoded(self, rows: NDArray[Any], outputs: Arrays, rounding: float) -> tuple[NDArray[np.bool_], int]:
        from edgekd.tasks.regression import heatmaps

        return heatmaps.same_points(rows, outputs[LOGITS], heatmaps.known_size(self.image), self.sigma, rounding)

    def decoder(self) -> JsonObject:
        maps = {"image": list(self.image), "sigma": self.sigma} if self.image else {}
        return {**super().decoder(), "size": self.size, **maps}

    def details(self, outputs: Arrays, targets: Arrays) -> PointDetails:  # type: ignore[override]
        from edgekd.tasks.regression import points

        return points.details(self.decode(outputs), targets)

    def breakdown(
        self, before: NamedPredictions, after: NamedPredictions, targets: Arrays, runtime: str,
        pictures: Pictures | None = None,
    ) -> ByValue:  # fmt: skip
        from edgekd.tasks.regression.by_value import by_point

        return by_point(before, after, targets, self.names, runtime, pictures)

    def agree(self, ours: PointPredictions, theirs: PointPredictions) -> NDArray[np.bool_]:  # type: ignore[override]
        from edgekd.tasks.regression import points

        return points.near(ours, theirs)

    def settled(self, outputs: Arrays, tolerances: Mapping[str, float]) -> NDArray[np.bool_]:
        import numpy as np

        from edgekd.tasks.regression import points

        reach = points.CORRECT * self.size
        if (image := self._image_of_maps(outputs[LOGITS])) is not None:
            from edgekd.tasks.regression import heatmaps

            steady = heatmaps.steady(outputs[LOGITS], tolerances[LOGITS], image, self.sigma, reach)
            found: NDArray[np.bool_] = np.all(steady, axis=1)
            return found
        return np.full(len(outputs[LOGITS]), tolerances[LOGITS] * max(self._scale[1]) < reach)

    def describe_outputs(self, outputs: Mapping[str, OutputShape]) -> str:
        if _are_maps(outputs):
            return (
                f"a heat map over the whole image for each of {', '.join(self.names)}: a point lies at its largest "
                "value, which is its score, moved to the vertex of the parabola through the logarithms of this value "
                "and its neighbours along x and y"
            )
        return (
            f"x and y of {', '.join(self.names)} in turn, standardised: in pixels of the network's image they are the "
            "decoder's mean + deviation × output"
        )

    def code(self, language: Language, outputs: Mapping[str, OutputShape] | None = None, of_image: bool = True) -> str:
        from edgekd.tasks.regression import heatmaps, points

        places = points.places_of_file(of_image)
        if _are_maps(outputs or {}):
            return heatmaps.code(language, heatmaps.known_size(self.image), self.sigma, places)
        return points.code(language, *self._scale, places)

    def sample_predictions(  # type: ignore[override]
        self, predictions: PointPredictions, top: int = 3, geometry: Sequence[Geometry] | None = None
    ) -> Sequence[PredictedPoints]:
        from edgekd.tasks.regression import points

        return points.sample_predictions(predictions, self.names, geometry)
