"""Classes from logits, and how good they are. NumPy alone, for readers of bundles and reports without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgekd.errors import DataError
from edgekd.tasks.ranking import MostProbable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgekd.strict_json import JsonObject
    from edgekd.tasks.task import Language

    Arrays = Mapping[str, NDArray[Any]]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

BINS = 15
# Of class predictions that are none, since a logit is no finite number. It is no class's number, so never correct.
NO_CLASS = -1

# Lines of a program that makes a class of ``logits`` without edgekd, for model cards.
CODE: dict[Language, str] = {
    "python": """\
probabilities = np.exp(logits - logits.max(), dtype=np.float64)
probabilities /= probabilities.sum()
best = probabilities.argmax()
print(labels[best], probabilities[best])
""",
    "cpp": """\
const float* best = std::max_element(logits, logits + labels.size());
double sum = 0;
for (size_t i = 0; i < labels.size(); i++) sum += std::exp(double(logits[i]) - *best);
std::printf("%s %.6f\\n", labels[best - logits].c_str(), 1 / sum);
""",
}


@dataclass(frozen=True, eq=False)
class ClassPredictions:
    """``classes`` (N,), :data:`NO_CLASS` where logits are not finite, and ``probabilities`` (N, classes) if known."""

    classes: Ints
    probabilities: Floats | None = None


def decode(logits: NDArray[Any]) -> ClassPredictions:
    """Return the class with the largest logit of each sample, the first of equal ones; logits (N, classes)."""
    with np.errstate(invalid="ignore"):
        return ClassPredictions(predicted_classes(logits), softmax(logits))


def predicted_classes(logits: NDArray[Any]) -> Ints:
    """Return the class (N,) with the largest logit, :data:`NO_CLASS` where logits are not finite."""
    found: Ints = np.where(np.isfinite(logits).all(1), logits.argmax(1), NO_CLASS)
    return found


def softmax(logits: NDArray[Any]) -> Floats:
    """Return the probabilities of classes, (N, classes), in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    found: Floats = shifted / shifted.sum(1, keepdims=True)
    return found


def correct(predictions: ClassPredictions, targets: Arrays) -> NDArray[np.bool_]:
    """Return which of the samples that are known are predicted correctly: (N,), or fewer where some are not known."""
    found: NDArray[np.bool_] = predictions.classes == targets["classes"]
    return found[targets["known"]] if "known" in targets else found


def correct_by_class(classes: NDArray[Any], targets: NDArray[Any], count: int) -> list[int]:
    """Return how many samples of each of ``count`` classes are predicted correctly; predicted and true classes (N,)."""
    found: list[int] = np.bincount(targets[classes == targets], minlength=count).tolist()
    return found


class ReliabilityBin(NamedTuple):
    """``n`` predictions of about one confidence: their mean ``confidence``, and the share that is correct."""

    n: int
    confidence: float
    accuracy: float


def reliability(predictions: ClassPredictions, targets: NDArray[Any], bins: int = BINS) -> list[ReliabilityBin]:
    """Return the bins of equal width in which predictions lie, by rising confidence: the points of a reliability
    diagram. True classes are (N,)."""
    confidence = _probabilities(predictions).max(1)
    correct = (predictions.classes == targets).astype(np.float64)
    # The right end belongs to a bin: a confidence of 1 is in the last one.
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts, *sums = (np.bincount(place, each, bins) for each in (np.ones_like(correct), confidence, correct))
    return [
        ReliabilityBin(int(n), float(confident / n), float(right / n))
        for n, confident, right in zip(counts, *sums, strict=True)
        if n
    ]


def expected_calibration_error(predictions: ClassPredictions, targets: NDArray[Any], bins: int = BINS) -> float:
    """Return how far confidence is from accuracy: Σ |bin| / N · |accuracy − confidence| over bins of equal width.

    Naeini et al. (2015), as in Guo et al., "On Calibration of Modern Neural Networks" (2017), equation 3. In [0, 1]; 0
    is calibrated. True classes are (N,).
    """
    found = reliability(predictions, targets, bins)
    return sum(each.n * abs(each.accuracy - each.confidence) for each in found) / len(targets)


def negative_log_likelihood(logits: NDArray[Any], targets: NDArray[Any]) -> float:
    """Return the mean of −log of the true class's probability, in nats; logits (N, classes), true classes (N,)."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    log_likelihood = shifted[np.arange(len(shifted)), targets] - np.log(np.exp(shifted).sum(1))
    return float(-log_likelihood.mean())


@dataclass(frozen=True)
class ClassDetails:
    """Figures next to accuracy, of the samples that are known; see the functions of the same names.

    Those of confidence are None where logits are not finite, of which it is not known.
    """

    right_by_class: list[int]
    expected_calibration_error: float | None = None
    reliability: list[ReliabilityBin] | None = None
    negative_log_likelihood: float | None = None

    def to_json(self) -> JsonObject:
        bins = None if self.reliability is None else [each._asdict() for each in self.reliability]
        return {name: each for name, each in {**vars(self), "reliability": bins}.items() if each is not None}


def details(logits: NDArray[Any], targets: Arrays) -> ClassDetails:
    """Return what accuracy does not say, of the samples that are known, as reports keep it; logits (N, classes)."""
    classes = targets["classes"]
    if "known" in targets:
        logits, classes = logits[targets["known"]], classes[targets["known"]]
    predictions = decode(logits)
    right_by_class = correct_by_class(predictions.classes, classes, logits.shape[1])
    if not np.isfinite(logits).all():
        return ClassDetails(right_by_class)
    return ClassDetails(
        right_by_class=right_by_class,
        expected_calibration_error=expected_calibration_error(predictions, classes),
        reliability=reliability(predictions, classes),
        negative_log_likelihood=negative_log_likelihood(logits, classes),
    )


class GrownConfusion(NamedTuple):
    """Samples of the class ``target`` that were predicted to be ``predicted``: ``before`` of them, and ``after``."""

    target: int
    predicted: int
    before: int
    after: int


def grown_confusions(
    targets: NDArray[Any], before: NDArray[Any], after: NDArray[Any], least: int = 2, most: int = 10
) -> list[GrownConfusion]:
    """Return the at most ``most`` mistakes that grew by ``least`` samples or more, those that grew most first.

    Args:
        targets, before, after: true classes (N,) and those that two networks predict, each from 0 on.
    """
    was, now = (_mistakes(targets, classes) for classes in (before, after))
    grown = [
        GrownConfusion(*pair, was.get(pair, 0), count)
        for pair, count in now.items()
        if count - was.get(pair, 0) >= least
    ]
    return sorted(grown, key=lambda each: (each.before - each.after, -each.after, each[:2]))[:most]


def lost_classes(counts: Sequence[int], before: Sequence[int], after: Sequence[int], most: float = 3.0) -> list[int]:
    """Return the classes of which more than ``most`` points are predicted correctly no longer.

    Args:
        counts: samples of each class; ``before`` and ``after`` of these are predicted correctly.
    """
    triples = enumerate(zip(counts, before, after, strict=True))
    return [number for number, (n, was, now) in triples if n and 100 * (was - now) > most * n]


def settled(logits: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    """Return whose two largest logits lie further apart than ``tolerance``: (N,), of logits (N, classes)."""
    if logits.shape[1] == 1:
        return np.ones(len(logits), bool)
    best = np.sort(logits, axis=1)
    found: NDArray[np.bool_] = best[:, -1] - best[:, -2] > tolerance
    return found


@dataclass(frozen=True)
class PredictedClass:
    """The class of one sample, the first of ``ranking``, which is empty where logits are not finite."""

    ranking: MostProbable

    def to_json(self) -> JsonObject:
        best = self.ranking.best[0]._asdict() if self.ranking.best else {"label": None, "probability": None}
        return {**best, "top": self.ranking.to_json()}

    def to_text(self) -> str:
        return self.ranking.to_text()

    def to_cells(self) -> dict[str, str]:
        return self.ranking.to_cells()


def sample_predictions(predictions: ClassPredictions, names: Sequence[str], top: int = 3) -> list[PredictedClass]:
    """Return each sample's prediction by name, with the ``top`` most probable classes."""
    lost = predictions.classes == NO_CLASS
    probabilities = np.where(lost[:, None], np.nan, _probabilities(predictions))
    return [PredictedClass(MostProbable.of(each, names, top)) for each in probabilities]


def must_be_classes(targets: Arrays, count: int) -> None:
    """Refuse targets that are not whole numbers from 0 to ``count`` − 1, one for each sample: DataError."""
    classes = targets["classes"]
    if classes.ndim != 1 or not len(classes) or not np.issubdtype(classes.dtype, np.integer):
        raise DataError(f"labels are {classes.dtype} {classes.shape}, expected one integer for each sample")
    known = classes[targets["known"]] if "known" in targets else classes
    if len(known) and (known.min() < 0 or known.max() >= count):
        raise DataError(f"labels are {known.min()} to {known.max()}, and there are the classes 0 to {count - 1}")


def _probabilities(predictions: ClassPredictions) -> Floats:
    if predictions.probabilities is None:
        raise DataError("only the predicted classes are known, not their probabilities: decode the logits")
    return predictions.probabilities


def _mistakes(targets: NDArray[Any], classes: NDArray[Any]) -> dict[tuple[int, int], int]:
    wrong = classes != targets
    pairs, counts = np.unique(np.stack([targets[wrong], classes[wrong]], 1), axis=0, return_counts=True)
    return {(int(target), int(predicted)): int(n) for (target, predicted), n in zip(pairs, counts, strict=True)}
