"""Mean average precision and macro F1 of any weights of samples. Labels that no sample has are left out of both."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgekd.errors import DataError
from edgekd.tasks.metric import Evidence
from edgekd.tasks.multilabel.score import labels_and_known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgekd.strict_json import JsonObject
    from edgekd.tasks.multilabel.score import LabelPredictions

    Arrays = Mapping[str, NDArray[Any]]
    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def average_precision(predictions: LabelPredictions, targets: Arrays) -> AveragePrecision:
    """Return the evidence for the mean over labels of the area under precision and recall.

    Raises:
        DataError: no sample has any label.
    """
    return AveragePrecision(predictions.probabilities, *_must_have_positives(targets))


def macro_f1(predictions: LabelPredictions, targets: Arrays) -> MacroF1:
    """Return the evidence for the mean over labels of 2 · precision · recall / (precision + recall).

    Raises:
        DataError: no sample has any label.
    """
    return MacroF1(predictions.labels, *_must_have_positives(targets))


@dataclass(frozen=True)
class LabelDetails:
    """The figures of each label, of which metrics are means; None for a label that no sample is known to have."""

    average_precision_by_label: list[float | None]
    f1_by_label: list[float | None]

    def to_json(self) -> JsonObject:
        return dict(vars(self))


def details(predictions: LabelPredictions, targets: Arrays) -> LabelDetails:
    """Return the metrics of each label."""
    every = np.ones((1, len(predictions.labels)))
    found = (metric(predictions, targets).by_label(every)[:, 0] for metric in (average_precision, macro_f1))
    return LabelDetails(*([None if value != value else value for value in each.tolist()] for each in found))


def _must_have_positives(targets: Arrays) -> tuple[Bools, Bools]:
    labels, known = labels_and_known(targets)
    if not labels.any():
        raise DataError("no sample is known to have any label, so that nothing can be found: add such samples")
    return labels, known


class _MeanOverLabels(Evidence):
    """The mean over the labels of which ``weights`` leave a sample."""

    labels: Bools
    known: Bools

    def __post_init__(self) -> None:
        super().__post_init__()
        arrays = {name: np.asarray(rows) for name, rows in self.arrays().items()}
        if self.labels.ndim != 2 or {each.shape for each in arrays.values()} != {self.labels.shape}:
            shapes = ", ".join(f"{name} {each.shape}" for name, each in arrays.items())
            raise DataError(f"evidence on labels is (N, labels) in each array, not {shapes}")
        for name, each in arrays.items():
            if each.dtype.kind != ("f" if name == "scores" else "b"):
                raise DataError(
                    f"evidence on labels is bool, and its scores are floating-point; {name} is {each.dtype}"
                )

    @abstractmethod
    def by_label(self, weights: Floats) -> Floats:
        """Return the metric of each label for each row of ``weights``: (labels, draws), NaN without a sample."""

    def values(self, weights: Floats) -> Floats:
        by_label = self.by_label(weights)
        known = ~np.isnan(by_label)
        return _divide(np.where(known, by_label, 0.0).sum(0), known.sum(0).astype(np.float64))


@dataclass(frozen=True, eq=False)
class AveragePrecision(_MeanOverLabels):
    """Scores, labels and which of these are known: (N, labels) each.

    Σ (recallₖ − recallₖ₋₁) · precisionₖ over the distinct scores of each label, as scikit-learn and torchmetrics have
    it, without interpolation; then the mean over labels.
    """

    scores: Floats
    labels: Bools
    known: Bools

    def by_label(self, weights: Floats) -> Floats:
        found = np.full((len(self._ranked), len(weights)), np.nan)
        for row, ranked in zip(found, self._ranked, strict=True):
            if ranked:
                row[:] = ranked.average_precision(weights)
        return found

    @cached_property
    def _ranked(self) -> list[_RankedLabel | None]:
        return [self._rank(label) for label in range(self.labels.shape[1])]

    def _rank(self, label: int) -> _RankedLabel | None:
        known = np.flatnonzero(self.known[:, label])
        labels = self.labels[known, label]
        return _RankedLabel.of(self.scores[known, label], labels, known) if labels.any() else None


class _RankedLabel(NamedTuple):
    """Samples by falling score, cut where a score ends that a sample with the label has.

    Attributes:
        samples: from the highest score down to the lowest of a sample with the label.
        cuts: where in these each part begins.
        positives: those of ``samples`` that have the label; ``positive_cuts`` is where in these each part begins.
    """

    samples: Ints
    cuts: Ints
    positives: Ints
    positive_cuts: Ints

    @classmethod
    def of(cls, scores: Floats, labels: Bools, samples: Ints) -> _RankedLabel:
        comparable = np.where(np.isnan(scores), -np.inf, scores)
        order = np.argsort(-comparable, kind="stable")
        falling, found = comparable[order], np.flatnonzero(labels[order])
        # Samples of one score are found together: where each one's score ends, from 1 on.
        ends = np.searchsorted(-falling, -falling[found], side="right")
        ends, positive_cuts = np.unique(ends, return_index=True)
        ranked = samples[order]
        return cls(ranked[: ends[-1]], np.append(0, ends[:-1]), ranked[found], positive_cuts)

    def average_precision(self, weights: Floats) -> Floats:
        """Return it for each row of ``weights`` (draws, N); NaN where no sample with the label has a weight."""
        hits = np.add.reduceat(weights.take(self.positives, axis=1), self.positive_cuts, axis=1)
        counts = np.add.reduceat(weights.take(self.samples, axis=1), self.cuts, axis=1).cumsum(1)
        found = hits.cumsum(1)
        precision = np.divide(found, counts, out=np.zeros_like(found), where=counts > 0)
        return _divide((hits * precision).sum(1), found[:, -1])


@dataclass(frozen=True, eq=False)
class MacroF1(_MeanOverLabels):
    """Predicted labels, true labels and which of these are known: (N, labels) each."""

    predicted: Bools
    labels: Bools
    known: Bools

    def by_label(self, weights: Floats) -> Floats:
        parts = (self.predicted & self.labels, self.predicted & self.known, self.labels)
        hits, predicted, positives = (weights @ each.astype(np.float64) for each in parts)
        f1 = _divide(2 * hits, predicted + positives)
        return np.where(positives > 0, f1, np.nan).T


def _divide(numerators: Floats, denominators: Floats) -> Floats:
    return np.divide(numerators, denominators, out=np.full_like(numerators, np.nan), where=denominators > 0)
