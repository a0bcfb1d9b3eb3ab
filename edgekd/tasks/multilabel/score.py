"""Labels from logits, and the thresholds that decide. NumPy alone, for readers of bundles without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

# Of labels in a cell of CSV, as pandas' get_dummies takes them.
SEPARATOR = "|"
# Lines of a program that makes labels of ``logits`` without edgekd, for model cards.
PYTHON = """\
thresholds = [{thresholds}]
probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
for label, probability, threshold in zip(labels, probabilities, thresholds):
    if probability >= threshold:
        print(label, probability)
"""
CPP = """\
const double thresholds[] = {{{thresholds}}};
for (size_t i = 0; i < labels.size(); i++) {{
  const double probability = 1 / (1 + std::exp(-double(logits[i])));
  if (probability >= thresholds[i]) std::printf("%s %.6f\\n", labels[i].c_str(), probability);
}}
"""


@dataclass(frozen=True, eq=False)
class LabelPredictions:
    """``labels`` (N, labels), predicted or not, by ``probabilities`` (N, labels), NaN where a logit is no number."""

    labels: NDArray[np.bool_]
    probabilities: Floats


def decode(logits: NDArray[Any], thresholds: Sequence[float]) -> LabelPredictions:
    """Return the labels whose probability is at least their threshold; logits (N, labels)."""
    probabilities = sigmoid(logits)
    return LabelPredictions(probabilities >= np.asarray(thresholds), probabilities)


def sigmoid(logits: NDArray[Any]) -> Floats:
    """Return the probability of each label, in float64."""
    odds = np.exp(-np.abs(logits.astype(np.float64)))
    return np.where(logits >= 0, 1, odds) / (1 + odds)


def best_thresholds(probabilities: Floats, targets: Arrays) -> list[float]:
    """Return for each label the threshold with the largest F1; choose them on validation samples, never on the test.

    A threshold lies halfway between two probabilities that it separates, so that no runtime's rounding moves a sample
    over it; of equally good ones it is the one nearest to 0.5. It is 0.5 where no sample is known to have the label, or
    none has a probability.

    Args:
        probabilities: (N, labels), as :func:`decode` gives them.
        targets: ``labels`` (N, labels) and, optionally, ``known``.
    """
    labels, known = labels_and_known(targets)
    columns = range(labels.shape[1])
    return [_best_threshold(probabilities[known[:, each], each], labels[known[:, each], each]) for each in columns]


def _best_threshold(probabilities: Floats, labels: NDArray[np.bool_]) -> float:
    positives = labels.sum()
    found = np.flatnonzero(probabilities > 0)  # not NaN either: no threshold finds those
    if not positives or not len(found):
        return 0.5
    order = found[np.argsort(-probabilities[found], kind="stable")]
    falling, hits = probabilities[order], np.cumsum(labels[order])
    after = np.append(falling[1:], 0.0)
    f1 = np.where(falling > after, 2 * hits / (np.arange(1, len(hits) + 1) + positives), -1)
    halfway = (falling + after) / 2
    best = halfway[f1 >= f1.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


def labels_and_known(targets: Arrays) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which labels samples have, and which of these entries are known: (N, labels) each."""
    labels = np.asarray(targets["labels"]) != 0
    known = np.asarray(targets["known"], bool) if "known" in targets else np.ones_like(labels)
    return labels & known, known


def without_positives(targets: Arrays) -> list[int]:
    """Return the labels that no sample is known to have."""
    labels, _ = labels_and_known(targets)
    return np.flatnonzero(~labels.any(0)).tolist()


def settled(logits: NDArray[Any], thresholds: Sequence[float], tolerance: float) -> NDArray[np.bool_]:
    """Return whose logits all lie further than ``tolerance`` from those of the thresholds: (N,)."""
    chances = np.asarray(thresholds, np.float64)
    found: NDArray[np.bool_] = (np.abs(logits - np.log(chances / (1 - chances))) > tolerance).all(1)
    return found


@dataclass(frozen=True)
class PredictedLabels:
    """The ``labels`` of one sample, and the most probable ones. A label whose logit is NaN is in neither."""

    labels: tuple[str, ...]
    ranking: MostProbable

    def to_json(self) -> JsonObject:
        return {"labels": list(self.labels), "top": self.ranking.to_json()}

    def to_text(self) -> str:
        return f"{', '.join(self.labels) or 'no label'} ({self.ranking.to_text()})"

    def to_cells(self) -> dict[str, str]:
        return {"labels": SEPARATOR.join(self.labels), **self.ranking.to_cells()}


def sample_predictions(predictions: LabelPredictions, names: Sequence[str], top: int = 3) -> list[PredictedLabels]:
    """Return each sample's predicted labels by name, with the ``top`` most probable ones."""
    rows = zip(predictions.labels, predictions.probabilities, strict=True)
    return [
        PredictedLabels(
            tuple(names[i] for i in np.flatnonzero(labels).tolist()), MostProbable.of(probabilities, names, top)
        )
        for labels, probabilities in rows
    ]


def must_be_labels(targets: Arrays, count: int) -> None:
    """Refuse targets that are not 0 or 1 for each sample and each of ``count`` labels, where known: DataError."""
    labels = np.asarray(targets["labels"])
    known = np.asarray(targets["known"]) if "known" in targets else np.ones(labels.shape, bool)
    if labels.ndim != 2 or not len(labels) or labels.shape[1] != count or known.shape != labels.shape:
        raise DataError(
            f"labels are of shape {labels.shape}, known ones {known.shape}; expected a 0 or 1 for each sample and each "
            f"of {count} labels"
        )
    if known.dtype != np.bool_:
        raise DataError(f"known is {known.dtype}, expected bool: True where a label has been annotated")
    if wrong := set(np.unique(labels[known]).tolist()) - {0, 1}:
        raise DataError(
            f"labels are {sorted(wrong)[:3]} in places, expected 0 or 1: where a label is not known, say so in 'known'"
        )


def code(language: Language, thresholds: Sequence[float]) -> str:
    """Return the lines that print each label whose probability reaches its threshold."""
    return {"python": PYTHON, "cpp": CPP}[language].format(
        thresholds=", ".join(repr(float(each)) for each in thresholds)
    )
