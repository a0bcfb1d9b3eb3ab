"""The drop of quality over the share that a cut keeps: a monotone curve through noisy points, and what it promises.

Plain bisection on noisy scores ends below the floor more often the longer it runs, because one lucky score moves its
bracket for good. A curve through all points forgets luck.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

# Of the drop over its scale on an asinh scale, as a polynomial of -log(share): what is expected before any point.
PRIOR_MEAN = np.array([0.0, 0.3, 0.4])
PRIOR_SD = np.array([2.0, 1.0, 0.6])
# Trainings from other seeds differ by about so many times the error that the samples alone leave.
TRAINING_NOISE = 0.5
# A point counts less the farther it is from the drop that is allowed: the form of the curve is a guess.
FAR = 0.02
DRAWS, SEED = 1000, 0
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
        """Return the standard error of a drop on the validation samples."""
        error = float(np.mean([point.error for point in self.points])) if self.points else abs(self.allowed)
        return max(error, 1e-9)

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
        return float(values.mean()), float(values.std())

    def assurance(self, share: float) -> float:
        """Return the probability that a network cut to ``share`` keeps the budget on the test samples."""
        return float(self._assurances[self._nearest(share)])

    def smallest(self, assured: float) -> float | None:
        """Return the smallest share that keeps the budget with a probability of ``assured``, or None if none does."""
        enough = np.flatnonzero(self._assurances >= assured)
        return float(self.shares[enough[0]]) if len(enough) else None

    @cached_property
    def _assurances(self) -> Floats:
        noise = self.error * np.hypot(self.test_error, TRAINING_NOISE)
        return np.asarray(ndtr((self.allowed - self.drops) / noise).mean(axis=0))

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
            noise = (errors**2 * (1 + TRAINING_NOISE**2) + 1e-6) / (1 + drops**2)
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
