"""Points in images: a place in pixels for each name, which moves with the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from edgekd.errors import ModelError
from edgekd.ranges import POSITIVE
from edgekd.tasks.metric import Evidence, Metric
from edgekd.tasks.regression import Regression
from edgekd.tasks.signature import LOGITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edgekd.geometry import Geometry
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.breakdown import NamedPredictions, Pictures
    from edgekd.tasks.regression.by_value import ByValue
    from edgekd.tasks.regression.points import PointDetails, PointPredictions, PredictedPoints
    from edgekd.tasks.task import Arrays, Language


def _metric(name: str, title: str, better: str, kind: str) -> Metric:
    def evidence(predictions: PointPredictions, targets: Arrays) -> Evidence:
        from edgekd.tasks.regression import points

        return points.evidence(find(), predictions, targets)

    def find() -> type[Evidence]:
        from edgekd.tasks.regression import points

        found: type[Evidence] = getattr(points, kind)
        return found

    return Metric(name, title, "%", better, "bootstrap", evidence, find)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Keypoints(Regression):
    """Each image has the points ``names``, places (x, y) in pixels from the upper left corner of the network's image.

    Outputs: ``logits`` (N, 2 · points), x and y of each point in turn, standardised. Targets: ``values`` (N, points, 2)
    in pixels; ``known`` likewise, optional. Points whose names differ in ``left`` and ``right`` alone change places
    where an image is mirrored.

    Attributes:
        mean, deviation: of x and y of each point in training.
        size: what distances are measured by, in pixels: the mean diagonal of the box around a training image's points.

    Raises:
        ModelError: as for :class:`Regression`, or ``size`` is not above 0.
    """

    size: float = 1.0

    name: ClassVar[str] = "keypoints"
    kind_of_names: ClassVar[str] = "points"
    pipeline_tags: ClassVar[Mapping[str, str]] = {"image": "keypoint-detection"}
    breakdown_key: ClassVar[str | None] = "by_point"
    metrics: ClassVar[Sequence[Metric]] = (
        _metric("nme", "normalised mean error", "lower", "MeanDistance"),
        _metric("pck", "correct keypoints", "higher", "CorrectPoints"),
        _metric("oks", "keypoint similarity", "higher", "PointSimilarity"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        POSITIVE.check(ModelError, size=self.size)

    @property
    def _width(self) -> int:
        return 2 * len(self.names)

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

    def adapted(self, stored: NDArray[np.float32]) -> Keypoints:
        from edgekd.tasks.regression import points

        return replace(super().adapted(stored), size=points.size_of(stored))

    def check_targets(self, targets: Arrays) -> None:
        from edgekd.tasks.regression import score

        score.must_be_values(targets, (len(self.names), 2))

    def warnings(self, targets: Arrays) -> list[str]:
        return []

    def decode(self, outputs: Arrays) -> PointPredictions:
        from edgekd.tasks.regression import points

        return points.decode(outputs[LOGITS], *self._scale, self.size)

    def decoder(self) -> JsonObject:
        return {**super().decoder(), "size": self.size}

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

        apart = tolerances[LOGITS] * max(self._scale[1])
        return np.full(len(outputs[LOGITS]), apart < points.CORRECT * self.size)

    def describe_outputs(self) -> str:
        return (
            f"x and y of {', '.join(self.names)} in turn, standardised: in pixels of the network's image they are the "
            "decoder's mean + deviation × output"
        )

    def code(self, language: Language, outputs: Sequence[str] = (LOGITS,), of_image: bool = True) -> str:
        from edgekd.tasks.regression import points

        return points.code(language, *self._scale, of_image)

    def sample_predictions(  # type: ignore[override]
        self, predictions: PointPredictions, top: int = 3, geometry: Sequence[Geometry] | None = None
    ) -> Sequence[PredictedPoints]:
        from edgekd.tasks.regression import points

        return points.sample_predictions(predictions, self.names, geometry)
