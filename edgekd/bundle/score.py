"""The metrics of a bundle on arrays: needs NumPy and ONNX Runtime, and for intervals of resampled metrics SciPy."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekd.bundle.predict import Predictor, rows_of, samples_in
from edgekd.bundle.session import BATCH, Inputs
from edgekd.errors import DataError
from edgekd.tasks.compare import interval
from edgekd.tasks.metric import Evidence, Metric, evidence_for
from edgekd.tasks.task import Task

if TYPE_CHECKING:
    from edgekd.tasks.task import Arrays

NUMBERS = "biuf"  # NumPy's kinds


@dataclass(frozen=True)
class MetricScore:
    """A metric of a bundle, and the evidence that :func:`edgekd.tasks.compare.compare` takes."""

    metric: Metric
    evidence: Evidence

    @cached_property
    def value(self) -> float:
        """Return the metric; a share is in [0, 1]."""
        return self.evidence.value()

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval: Wilson's of a share of samples, else by bootstrap, which takes seconds."""
        return interval(self.metric, self.evidence, confidence)


@dataclass(frozen=True)
class Score:
    """The task's metrics by their names, the first of which is its headline."""

    metrics: Mapping[str, MetricScore]

    @property
    def headline(self) -> MetricScore:
        return next(iter(self.metrics.values()))

    @property
    def n(self) -> int:
        """Return the number of samples that were judged."""
        return self.headline.evidence.n


def score(bundle: Path, samples: Inputs, labels: np.ndarray, batch: int = BATCH, threads: int = 0) -> Score:
    """Verify ``bundle``, predict ``samples`` with it and return the metrics of its task.

    Args:
        samples: raw, before any scaling: uint8 (N, C, H, W) of the network's size, or float (N, F); of several inputs
            an array (N, ...) for each by its name.
        labels: for classification (N,) integers, positions in the manifest's labels; for multilabel (N, labels) of 0
            and 1. Negative where not known.
        batch: samples in one inference, at least 1.
        threads: of ONNX Runtime; 0 lets it choose.

    Raises:
        BundleError: the bundle was changed.
        DataError: samples of another shape or type, or labels that do not fit them.
    """
    predictor = Predictor(bundle, threads)
    task = predictor.task
    if isinstance(samples, Mapping):
        samples = predictor.take(samples)
    n = samples_in(predictor.session.by_name(samples))
    targets = read_targets(task, labels, n)
    rows = []
    for start in range(0, n, batch):
        rows.append(task.to_rows(predictor.decoded(predictor.take(rows_of(samples, start, batch)), batch)))
    predictions = task.from_rows(np.concatenate(rows))
    found = evidence_for(task.metrics, predictions, targets)
    return Score({metric.name: MetricScore(metric, found[metric.name]) for metric in task.metrics})


def read_targets(task: Task, labels: np.ndarray, n: int) -> "Arrays":
    if not n or labels.shape[:1] != (n,) or labels.dtype.kind not in NUMBERS:
        raise DataError(f"labels are {labels.dtype} {labels.shape}, expected numbers for each of {n} samples")
    targets = task.targets(labels)
    task.check_targets(targets)
    if "known" in targets and not targets["known"].any():
        raise DataError("no label is known: there is nothing to score by")
    return targets
