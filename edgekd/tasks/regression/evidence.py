"""Errors of predicted values for any weights of samples. Means are over values, whose units may differ."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.errors import DataError
from edgekd.tasks.metric import Evidence
from edgekd.tasks.regression.score import values_and_known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgekd.strict_json import JsonObject
    from edgekd.tasks.regression.score import ValuePredictions

    Arrays = Mapping[str, NDArray[Any]]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

# Of a histogram of errors.
BINS = 12


def mean_absolute_error(predictions: ValuePredictions, targets: Arrays) -> AbsoluteErrors:
    """Return the evidence for the mean over values of |prediction − target|."""
    errors, _, known = errors_of(predictions, targets)
    return AbsoluteErrors(errors, known)


def root_mean_squared_error(predictions: ValuePredictions, targets: Arrays) -> SquaredErrors:
    """Return the evidence for the mean over values of the root of the mean squared error."""
    errors, _, known = errors_of(predictions, targets)
    return SquaredErrors(errors, known)


def determination(predictions: ValuePredictions, targets: Arrays) -> Determination:
    """Return the evidence for R²: the mean over values of 1 − Σ error² / Σ (target − mean)²."""
    errors, values, known = errors_of(predictions, targets)
    return Determination(errors, values, known)


def errors_of(predictions: ValuePredictions, targets: Arrays) -> tuple[Floats, Floats, Bools]:
    """Return prediction − target and the targets, 0 where not known, and which are known: (N, values) each.

    Raises:
        DataError: nothing is known.
    """
    values, known = values_and_known(targets)
    if not known.any():
        raise DataError("no target is known, so that nothing can be judged: add samples that have some")
    return np.where(known, predictions.values - values, 0.0), values, known


class _MeanOverValues(Evidence):
    """The mean over the values of which ``weights`` leave a sample."""

    errors: Floats
    known: Bools

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, each in self.arrays().items():
            rows = np.asarray(each)
            if (
                rows.ndim != 2
                or rows.shape != self.errors.shape
                or rows.dtype.kind != ("b" if name == "known" else "f")
            ):
                raise DataError(
                    f"evidence on values is (N, values), floating-point, and bool for 'known'; {name} is {rows.dtype} "
                    f"{rows.shape}"
                )

    @abstractmethod
    def by_value(self, weights: Floats) -> Floats:
        """Return the metric of each value for each row of ``weights``: (draws, values), NaN where it has none."""

    def values(self, weights: Floats) -> Floats:
        by_value = self.by_value(weights)
        # Only where weights leave no sample; an error that is NaN must show.
        left = self._counts(weights) > 0
        found = np.where(left, by_value, 0.0).sum(1)
        return divided(found, left.sum(1).astype(np.float64))

    def _counts(self, weights: Floats) -> Floats:
        found: Floats = weights @ self.known.astype(np.float64)
        return found


@dataclass(frozen=True, eq=False)
class AbsoluteErrors(_MeanOverValues):
    """Errors, and which of these are known: (N, values) each."""

    errors: Floats
    known: Bools

    def by_value(self, weights: Floats) -> Floats:
        return divided(weights @ np.abs(self.errors), self._counts(weights))


@dataclass(frozen=True, eq=False)
class SquaredErrors(_MeanOverValues):
    """Errors, and which of these are known: (N, values) each."""

    errors: Floats
    known: Bools

    def by_value(self, weights: Floats) -> Floats:
        return np.sqrt(divided(weights @ self.errors**2, self._counts(weights)))


@dataclass(frozen=True, eq=False)
class Determination(_MeanOverValues):
    """Errors, targets and which of these are known: (N, values) each. Values that never differ are left out."""

    errors: Floats
    targets: Floats
    known: Bools

    def by_value(self, weights: Floats) -> Floats:
        counts = self._counts(weights)
        squares = weights @ self.errors**2
        # From near the mean, lest large numbers cancel.
        centred = np.where(self.known, self.targets - self._middle, 0.0)
        spread = weights @ centred**2 - divided((weights @ centred) ** 2, counts)
        return 1 - divided(squares, np.where(self._differs(weights), spread, 0.0))

    def values(self, weights: Floats) -> Floats:
        by_value, left = self.by_value(weights), self._differs(weights)
        return divided(np.where(left, by_value, 0.0).sum(1), left.sum(1).astype(np.float64))

    @property
    def _middle(self) -> Floats:
        found: Floats = divided(self.targets.sum(0), self.known.sum(0).astype(np.float64))
        return np.where(np.isnan(found), 0.0, found)

    def _differs(self, weights: Floats) -> Bools:
        centred = np.where(self.known, self.targets - self._middle, 0.0)
        counts = self._counts(weights)
        mean = divided(weights @ centred, counts)
        spread = divided(weights @ centred**2, counts) - mean**2
        scale = np.abs(self.targets).max(0) + 1
        found: Bools = spread > (1e-9 * scale) ** 2
        return found


@dataclass(frozen=True)
class ErrorDetails:
    """Figures that the means are of: figures value by value, and a histogram of all errors.

    Attributes:
        absolute_error_by_value, bias_by_value: means of \\|prediction − target\\| and of prediction − target.
        error_edges: where bins of the error begin, and the last one's end; ``error_counts`` are those in each.
    """

    absolute_error_by_value: list[float | None]
    bias_by_value: list[float | None]
    error_edges: list[float]
    error_counts: list[int]

    def to_json(self) -> JsonObject:
        return dict(vars(self))


def details(predictions: ValuePredictions, targets: Arrays) -> ErrorDetails:
    """Return the errors of each value, and how all are distributed."""
    errors, _, known = errors_of(predictions, targets)
    counts = known.sum(0).astype(np.float64)
    absolute, bias = (
        [value if np.isfinite(value) else None for value in divided(each.sum(0), counts).tolist()]
        for each in (np.abs(errors), errors)
    )
    finite = errors[known][np.isfinite(errors[known])]
    found, edges = np.histogram(finite, bin_edges(finite, BINS)) if len(finite) else (np.zeros(0, int), np.zeros(0))
    return ErrorDetails(absolute, bias, edges.tolist(), found.tolist())


def bin_edges(values: Floats, bins: int) -> Floats:
    """Return the edges (bins + 1,) of a histogram of finite values; where these are alike, of one unit above them."""
    low, high = float(values.min()), float(values.max())
    # Of values that differ by rounding alone NumPy makes no bins.
    is_wide = high - low > 1e-9 * max(abs(low), abs(high))
    return np.linspace(low, high if is_wide else low + max(1.0, abs(low)), bins + 1)


def divided(numerators: Floats, denominators: Floats) -> Floats:
    """Return the quotients, NaN where the denominator is not above 0."""
    return np.divide(numerators, denominators, out=np.full_like(numerators, np.nan), where=denominators > 0)
