"""Points from standardised outputs, and how far they are from where they should be. NumPy alone."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError
from edgekd.tasks.metric import Evidence
from edgekd.tasks.regression.score import ValuePredictions, values_and_known
from edgekd.tasks.regression.targets import must_be_known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from edgekd.geometry import Geometry
    from edgekd.strict_json import JsonObject
    from edgekd.tasks.task import Language

    Arrays = Mapping[str, NDArray[Any]]
    Floats = NDArray[np.float64]
    Points = NDArray[np.float32]

# Of the size: how near a correct point is, and at what distance a point's similarity is exp(−1/2).
CORRECT, SIMILAR = 0.1, 0.1
EXPECTED = "expected x and y of each point for each image, (N, points, 2), or with a 0 for points that are not known"
OTHER_SIDE = {
    **{"left": "right", "Left": "Right", "LEFT": "RIGHT"},
    **{"right": "left", "Right": "Left", "RIGHT": "LEFT"},
}
SIDE = re.compile("|".join(OTHER_SIDE))
# Behind x and y, as in COCO: not known, hidden, to be seen.
FLAGS = (0, 1, 2)

PYTHON = """\
mean = [{mean}]
deviation = [{deviation}]
places = [middle + scale * output for output, middle, scale in zip(logits, mean, deviation)]
for label, x, y in zip(labels, places[::2], places[1::2]):
    print(label, {x}, {y})
"""
CPP = """\
const double mean[] = {{{mean}}};
const double deviation[] = {{{deviation}}};
for (size_t i = 0; i < labels.size(); i++) {{
  const double x = mean[2 * i] + deviation[2 * i] * logits[2 * i];
  const double y = mean[2 * i + 1] + deviation[2 * i + 1] * logits[2 * i + 1];
  std::printf("%s %g %g\\n", labels[i].c_str(), {x}, {y});
}}
"""


@dataclass(frozen=True, eq=False)
class PointPredictions(ValuePredictions):
    """``values`` (N, points, 2) in pixels; ``size`` is what distances are measured by, in pixels.

    ``scores`` (N, points) are the largest values of heat maps, None of a network that gives places alone.
    """

    size: float
    scores: Floats | None = None


def decode(outputs: NDArray[Any], mean: Sequence[float], deviation: Sequence[float], size: float) -> PointPredictions:
    """Return mean + deviation · output; outputs (N, 2 · points)."""
    places = np.asarray(mean) + np.asarray(deviation) * outputs.astype(np.float64)
    return PointPredictions(places.reshape(len(places), -1, 2), size)


def of_maps(rows: NDArray[Any], size: float) -> PointPredictions:
    """Return the predictions that x, y and score of each point, (N, points, 3), mean."""
    found = rows.astype(np.float64)
    return PointPredictions(found[..., :2], size, found[..., 2])


def read_targets(raw: NDArray[Any], count: int, where: str) -> Points:
    """Return points (N, points, 2) of ``count`` images, from an array that ``where`` names in messages.

    Raises:
        DataError: it is not x and y, with or without a third number that is 0 where a point is not known.
    """
    fits = raw.ndim == 3 and len(raw) == count and raw.shape[1] and raw.shape[2] in (2, 3) and raw.dtype.kind in "biuf"
    if not fits:
        raise DataError(f"{where} gives {count} samples and targets of shape {raw.shape} ({raw.dtype}); {EXPECTED}")
    places = raw[:, :, :2].astype(np.float64)
    if raw.shape[2] == 3:  # as COCO has it
        _must_be_flags(raw[:, :, 2], where)
        places[raw[:, :, 2] == 0] = np.nan
    half = np.isnan(places).any(2) & ~np.isnan(places).all(2)
    if half.any():
        row, point = (int(each[0]) for each in np.nonzero(half))
        raise DataError(
            f"{where}: row {row} (from 0), point {point} has only one of x and y; give both, or NaN for both"
        )
    return must_be_known(places, where)


def _must_be_flags(flags: NDArray[Any], where: str) -> None:
    wrong = np.argwhere(~np.isin(flags, FLAGS))
    if len(wrong):
        row, point = wrong[0].tolist()
        raise DataError(
            f"{where}: row {row} (from 0), point {point} has {flags[row, point]:g} behind x and y; give 0 where it is "
            "not known, and 1 or 2 where it is"
        )


def must_fit(stored: Points, size: tuple[int, int], where: str) -> None:
    """Refuse points outside of their images of ``size``, height and width: DataError."""
    height, width = size
    wrong = np.argwhere(((stored < 0) | (stored > np.array([width, height]))).any(-1))
    if len(wrong):
        image, point = wrong[0].tolist()
        x, y = stored[image, point].tolist()
        more = f", the first of {len(wrong)}," if len(wrong) > 1 else ""
        raise DataError(
            f"{where}: point {point} of image {image} (from 0){more} is ({x:g}, {y:g}), which lies outside of its "
            f"image of {width}x{height} pixels: give pixels of the images, and NaN where a point is not to be seen"
        )


def moved(stored: Points, geometry: Geometry, names: Sequence[str]) -> Points:
    """Return where points went, NaN outside of the image; of mirrored images left and right change names."""
    found = geometry.points(stored)
    mirrored = geometry.scale[:, 0] < 0
    found[mirrored] = found[mirrored][:, _mirrored(names)]
    height, width = geometry.after
    outside = ((found < 0) | (found > np.array([width, height]))).any(2)
    found[outside] = np.nan
    return found.astype(np.float32)


def _mirrored(names: Sequence[str]) -> list[int]:
    """The place of each point's counterpart on the other side, its own where it has none."""
    places = {name: index for index, name in enumerate(names)}
    swapped = (SIDE.sub(lambda found: OTHER_SIDE[found[0]], name) for name in names)
    return [places.get(other, index) for index, other in enumerate(swapped)]


def size_of(stored: Points) -> float:
    """Return the mean diagonal, in pixels, of the box around an image's points; of one point, around all images'."""
    points = stored.astype(np.float64)
    points = points.reshape(1, -1, 2) if points.shape[1] == 1 else points
    spans = [np.ptp(own, axis=0) for each in points if len(own := each[~np.isnan(each).any(1)]) > 1]
    diagonals = np.hypot(*np.array(spans).T) if spans else np.zeros(1)
    return float(f"{max(float(diagonals.mean()), 1e-3):.6g}")


def distances(predictions: PointPredictions, targets: Arrays) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how far points are from their targets, in pixels, 0 where not known, and which are: (N, points) each.

    Raises:
        DataError: nothing is known.
    """
    values, known = values_and_known(targets)
    apart = np.hypot(*np.moveaxis(predictions.values - values, -1, 0))
    is_known: NDArray[np.bool_] = known[:, :, 0]
    if not is_known.any():
        raise DataError("no point is known, so that nothing can be judged: add images that have some")
    return np.where(is_known, apart, 0.0), is_known


def near(ours: PointPredictions, theirs: PointPredictions) -> NDArray[np.bool_]:
    """Return of which images (N,) all points are as near to each other as correct ones are to their targets."""
    apart = np.hypot(*np.moveaxis(ours.values - theirs.values, -1, 0))
    within: NDArray[np.int64] = (apart <= CORRECT * ours.size).sum(1)  # NaN is near to nothing
    return within == apart.shape[1]


def evidence(kind: type[Evidence], predictions: PointPredictions, targets: Arrays) -> Evidence:
    """Return the evidence of ``kind``, of distances in units of the size."""
    apart, known = distances(predictions, targets)
    return kind(apart / predictions.size, known)  # type: ignore[call-arg]


@dataclass(frozen=True, eq=False)
class _OfPoints(Evidence):
    """Distances in units of the size, and which points are known: (N, points) each. A mean over known points."""

    distances: Floats
    known: NDArray[np.bool_]

    def __post_init__(self) -> None:
        super().__post_init__()
        apart, known = np.asarray(self.distances), np.asarray(self.known)
        if apart.ndim != 2 or apart.shape != known.shape or apart.dtype.kind != "f" or known.dtype.kind != "b":
            raise DataError(
                f"evidence on points is (N, points), floating-point and bool, not {apart.dtype} {apart.shape} and "
                f"{known.dtype} {known.shape}"
            )

    @abstractmethod
    def of_points(self) -> Floats:
        """Return the figure of each point, (N, points), NaN where its distance is."""

    def values(self, weights: Floats) -> Floats:
        sums = np.where(self.known, self.of_points(), 0.0).sum(1)
        counts = weights @ self.known.sum(1).astype(np.float64)
        return np.divide(weights @ sums, counts, out=np.full(len(weights), np.nan), where=counts > 0)


class MeanDistance(_OfPoints):
    """The mean distance in units of the size."""

    def of_points(self) -> Floats:
        return self.distances


class CorrectPoints(_OfPoints):
    """The share of points that are nearer than a tenth of the size: Yang and Ramanan (2013), PCK."""

    def of_points(self) -> Floats:
        return np.where(np.isnan(self.distances), np.nan, (self.distances <= CORRECT).astype(np.float64))


class PointSimilarity(_OfPoints):
    """The mean of exp(−d² / 2 k²), k a tenth: COCO's object keypoint similarity, with one k for all points."""

    def of_points(self) -> Floats:
        found: Floats = np.exp(-0.5 * (self.distances / SIMILAR) ** 2)
        return found


@dataclass(frozen=True)
class PointDetails:
    """The mean distance of each point in pixels, None where it is never known, and the size that it is measured by."""

    distance_by_point: list[float | None]
    size: float

    def to_json(self) -> JsonObject:
        return dict(vars(self))


def details(predictions: PointPredictions, targets: Arrays) -> PointDetails:
    """Return what the means are means of."""
    apart, known = distances(predictions, targets)
    counts = known.sum(0)
    means = np.divide(apart.sum(0), counts, out=np.full(apart.shape[1], np.nan), where=counts > 0).tolist()
    return PointDetails([value if np.isfinite(value) else None for value in means], predictions.size)


@dataclass(frozen=True)
class PredictedPoints:
    """The points of one image by name, in pixels; None where they are not finite.

    ``scores`` are of heat maps, by the same names; there are none of a network that gives places alone.
    """

    points: Mapping[str, tuple[float, float] | None]
    scores: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        places = {name: list(place) if place else None for name, place in self.points.items()}
        scores = {name: self.scores[name] if place else None for name, place in places.items() if self.scores}
        return {"points": places, **({"scores": scores} if scores else {})}

    def to_text(self) -> str:
        return ", ".join(f"{name} {self._shown(name)}" for name in self.points)

    def to_cells(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, place in self.points.items():
            found |= {f"{name}.{axis}": f"{place[number]:.3f}" if place else "" for number, axis in enumerate("xy")}
            if self.scores:
                found[f"{name}.score"] = f"{self.scores[name]:.3f}" if place else ""
        return found

    def _shown(self, name: str) -> str:
        place = self.points[name]
        if place is None:
            return "not finite"
        score = f" {self.scores[name]:.2f}" if self.scores else ""
        return f"({place[0]:.1f}, {place[1]:.1f}){score}"

    def drawn_on(self, picture: Image.Image) -> Image.Image:
        from edgekd.tasks.pictures import SHADES, Pen

        found = picture.convert("RGB")
        pen = Pen(found)
        for number, (name, place) in enumerate(self.points.items()):
            if place is not None:
                pen.dot(place, SHADES[number % len(SHADES)], name)
        return found


def sample_predictions(
    predictions: PointPredictions, names: Sequence[str], geometry: Sequence[Geometry] | None = None
) -> list[PredictedPoints]:
    """Return each image's points by name, with ``geometry`` in the pixels of its file."""
    places, scores = predictions.values, predictions.scores
    if geometry is not None:
        backwards = (each.inverse() for each in geometry)
        places = np.concatenate([back.points(own[None]) for back, own in zip(backwards, places, strict=True)])
    return [
        PredictedPoints(
            {name: (x, y) if np.isfinite([x, y]).all() else None for name, (x, y) in zip(names, each, strict=True)},
            {} if scores is None else dict(zip(names, scores[index].tolist(), strict=True)),
        )
        for index, each in enumerate(places.tolist())
    ]


def places_of_file(of_image: bool) -> tuple[str, str]:
    """Return the terms by which a program takes x and y back to the pixels of its image file; as they are of none."""
    return ("(x - left) / across", "(y - top) / down") if of_image else ("x", "y")


def code(
    language: Language, mean: Sequence[float], deviation: Sequence[float], places: tuple[str, str] = ("x", "y")
) -> str:
    """Return the lines that print each point; ``places`` are the terms of x and y that are printed."""
    numbers = {"mean": mean, "deviation": deviation}
    written = {name: ", ".join(repr(float(each)) for each in values) for name, values in numbers.items()}
    return {"python": PYTHON, "cpp": CPP}[language].format(**written, x=places[0], y=places[1])
