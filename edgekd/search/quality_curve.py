"""The drop of quality over the share that a cut keeps: a monotone curve through noisy points, and what it promises.

Plain bisection on noisy scores ends below the floor more often the longer it runs, because one lucky score moves its
bracket for good. A curve through all points forgets luck.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

# Of the drop over its scale on an asinh scale, as a polynomial of -log(share): what is expected before any point.
PRIOR_MEAN = np.array([0.0, 0.3, 0.4])
PRIOR_SD = np.array([2.0, 1.0, 0.6])
# Trainings from other seeds differ by about so many times the error that the samples alone leave.
TRAINING_NOISE = 0.5
# All students are compared with one teacher on the same samples: the share of that error's variance that they have in
# common, which no further candidate averages out.
COMMON = 0.4
# A point counts less the farther it is from the drop that is allowed: the form of the curve is a guess.
FAR = 0.02
DRAWS, SEED = 1000, 0
# The quantile of the normal distribution at nine of ten.
Z90 = 1.2816
# The posterior's width over that noise at which a curve counts as known.
KNOWN = 0.4
# Fewer monotone draws than this would be no distribution.
LEAST_DRAWS = 50
STEPS = 65


@dataclass(frozen=True)
class Point:
    """A trained network: the share that was kept, its drop to the teacher, and the standard error of that."""

    share: float
    drop: float
    error: float


@dataclass(frozen=True)
class QualityCurve:
    """The posterior of the drop at every share in [``low``, ``high``], after ``points``.

    The drop over ``scale``, on an asinh scale (linear about 0, logarithmic beyond), is a quadratic polynomial of
    ``-log(share)``. Its coefficients have a normal prior; those draws of the posterior count that never fall as the
    share does.

    Attributes:
        allowed: the drop that the budget allows, in the unit of the points' drops.
        test_error: the standard error of a drop on the test samples over that on the validation samples.
    """

    points: Sequence[Point]
    low: float
    high: float
    allowed: float
    test_error: float = 1.0

    @cached_property
    def shares(self) -> Floats:
        """Return the shares that the curve is computed at, (STEPS,), from ``low`` to ``high``."""
        return np.geomspace(self.low, self.high, STEPS)

    @cached_property
    def error(self) -> float:
        """Return the standard error of a drop on the validation samples, by the points near the one that is allowed.

        The larger a drop is, the more samples are predicted otherwise, and the larger is its error.
        """
        if not self.points:
            return max(abs(self.allowed), 1e-9)
        errors = np.array([point.error for point in self.points])
        far = np.array([point.drop - self.allowed for point in self.points]) / max(
            abs(self.allowed), errors.min(), 1e-9
        )
        return max(float(np.average(errors, weights=1 / (1 + far**2))), 1e-9)

    @cached_property
    def drops(self) -> Floats:
        """Return the drop at each of ``shares`` by each draw of the posterior, (draws, STEPS)."""
        found = self._draws @ _basis(self.shares).T
        # From a large share to a small one.
        falling = np.all(np.diff(found, axis=1) <= 1e-12, axis=1)
        if falling.sum() >= LEAST_DRAWS:
            found = found[falling]
        return np.asarray(self._scale * np.sinh(np.clip(found, -12, 12)))

    def at(self, share: float) -> tuple[float, float]:
        """Return the mean and the standard deviation of the drop at ``share``."""
        values = self.drops[:, self._nearest(share)]
        return float(values.mean()), float(np.hypot(values.std(), self._common))

    def assurance(self, share: float) -> float:
        """Return the probability that a network cut to ``share`` keeps the budget on the test samples."""
        return float(self._assurances[self._nearest(share)])

    def smallest(self, assured: float) -> float | None:
        """Return the smallest share that keeps the budget with a probability of ``assured``, or None if none does."""
        return self._first(self._assurances >= assured)

    def edge(self, assured: float) -> list[float]:
        """Return shares to try next about the smallest one that keeps the budget with a probability of ``assured``.

        The first is that share if the mean of the posterior were the curve. Those up to the share that keeps the budget
        as often as not follow while the posterior is wider than a part of the noise that no candidate narrows.
        """
        mean, spread = self.drops.mean(axis=0), self.drops.std(axis=0)
        known = self._first(ndtr((self.allowed - mean) / self._noise) >= assured)
        found = [] if known is None else [known]
        likely, sure = self.smallest(0.5), self.smallest(assured) or self.high
        if likely is None or spread[self._nearest(sure)] < KNOWN * self._noise:
            return found
        middle = sqrt(likely * sure)
        return [*found, middle, likely, sqrt(middle * sure)]

    def _first(self, enough: NDArray[np.bool_]) -> float | None:
        found = np.flatnonzero(enough)
        return float(self.shares[found[0]]) if len(found) else None

    @cached_property
    def _assurances(self) -> Floats:
        return np.asarray(ndtr((self.allowed - self.drops) / self._noise).mean(axis=0))

    @property
    def room(self) -> float:
        """Return how far below what is allowed a drop must be to keep the budget on the test samples nine times of ten.

        With a curve that is known: no more candidates narrow it, and more samples do.
        """
        return Z90 * self._noise

    @property
    def _noise(self) -> float:
        return float(np.hypot(self.error * np.hypot(self.test_error, TRAINING_NOISE), self._common))

    @property
    def _common(self) -> float:
        return self.error * sqrt(COMMON) if self.points else 0.0

    @property
    def _scale(self) -> float:
        return max(abs(self.allowed), self.error)

    @cached_property
    def _draws(self) -> Floats:
        mean, covariance = self._posterior()
        standard = np.random.default_rng(SEED).standard_normal((DRAWS, len(mean)))
        return np.asarray(mean + standard @ np.linalg.cholesky(covariance).T)

    def _posterior(self) -> tuple[Floats, Floats]:
        precision, weighted = np.diag(PRIOR_SD**-2.0), PRIOR_MEAN / PRIOR_SD**2
        if self.points:
            basis = _basis(np.array([point.share for point in self.points]))
            drops = np.array([point.drop for point in self.points]) / self._scale
            errors = np.array([point.error for point in self.points]) / self._scale
            # The slope of asinh carries the noise over; far below the floor the form of the curve is a guess.
            values = np.arcsinh(drops)
            noise = (errors**2 * (1 - COMMON + TRAINING_NOISE**2) + 1e-6) / (1 + drops**2)
            variances = noise + FAR * (values - np.arcsinh(self.allowed / self._scale)) ** 2
            precision = precision + (basis.T / variances) @ basis
            weighted = weighted + basis.T @ (values / variances)
        covariance = np.linalg.inv(precision)
        return np.asarray(covariance @ weighted), np.asarray(covariance)

    def _nearest(self, share: float) -> int:
        return int(np.argmin(np.abs(np.log(self.shares) - np.log(share))))


def _basis(shares: Floats) -> Floats:
    cut = -np.log(shares)
    return np.stack([np.ones_like(cut), cut, cut**2], axis=1)
