"""The drop of quality over the share that a cut keeps: a monotone curve through noisy points, and what it promises.

Plain bisection on noisy scores ends below the floor more often the longer it runs, because one lucky score moves its
bracket for good. A curve through all points forgets luck. What of a network's distance from the curve is its own, and
would be there on other samples too, is a random effect (Laird and Ware 1982): it counts for the network that was
trained, and is unknown of another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]

# Of the drop over its scale on an asinh scale: what is expected before any point. A polynomial of -log(share), then by
# how much each shorter length of training lies above the next longer one.
PRIOR_MEAN = np.array([0.0, 0.3, 0.4, 0.7, 0.7])
PRIOR_SD = np.array([2.0, 1.0, 0.6, 0.7, 0.7])
LENGTHS = 2
# A point counts less the farther it is from the drop that is allowed: the form of the curve is a guess.
FAR = 0.02
DRAWS, SEED = 1000, 0
# Fewer monotone draws than this would be no distribution.
LEAST_DRAWS = 50
# Of the drops, in the place of a standard error of 0.
TINY = 1e-9
STEPS = 65
# Of a normal distribution, so many standard deviations lie between these percentiles.
SPREAD, PERCENTILES = 2.0, (15.87, 50.0, 84.13)


@dataclass(frozen=True)
class Point:
    """A trained network: the share that was kept, its drop to the teacher, and the standard error of that.

    Attributes:
        shorter: how many lengths of training are longer than its own.
    """

    share: float
    drop: float
    error: float
    shorter: int = 0


@dataclass(frozen=True)
class Noise:
    """The noise of drops, in units of the standard error of one on the validation samples.

    Attributes:
        test: the standard error of a drop on the test samples.
        common: the share of that error's variance that all students have in common, because they are compared with one
            teacher on the same samples; no further candidate averages it out.
        training: the standard deviation of true drops between trainings of one network from other seeds.
    """

    test: float = 1.0
    common: float = 0.4
    training: float = 0.5

    @property
    def own(self) -> float:
        """Return the variance of a drop on the validation samples that students do not have in common."""
        return 1 - self.common

    @property
    def shared(self) -> float:
        """Return the variance that no candidate narrows: of the test samples, and in common on the validation ones."""
        return self.test**2 + self.common

    @property
    def kept(self) -> float:
        """Return the part of a trained network's distance from the curve that is expected on other samples too."""
        return self.training**2 / (self.training**2 + self.own)


# Before any candidate is trained.
EXPECTED_NOISE = Noise()


@dataclass(frozen=True)
class QualityCurve:
    """The posterior of the drop at every share in [``low``, ``high``], after ``points``.

    The drop over ``scale``, on an asinh scale (linear about 0, logarithmic beyond), is a quadratic polynomial of
    ``-log(share)``, and higher by a constant for each shorter length of training. These coefficients have a normal
    prior; those draws of the posterior count that never fall as the share or the training does. The drop of one
    training differs from the curve by ``noise.training``.

    Attributes:
        points: after trainings of any length.
        allowed: the drop that the budget allows, in the unit of the points' drops.
        shorter: of the training whose drops are asked for, as of :class:`Point`.
    """

    points: Sequence[Point]
    low: float
    high: float
    allowed: float
    noise: Noise = EXPECTED_NOISE
    shorter: int = 0

    @cached_property
    def shares(self) -> Floats:
        """Return the shares that the curve is computed at, (STEPS,), from ``low`` to ``high``."""
        return np.geomspace(self.low, self.high, STEPS)

    @cached_property
    def error(self) -> float:
        """Return the standard error of a drop on the validation samples, by the points near the one that is allowed.

        The larger a drop is, the more samples are predicted otherwise, and the larger is its error.
        """
        # In whatever unit the metric is: no sample may tell two networks apart.
        largest = max((abs(point.drop) for point in self.points), default=0.0)
        least = TINY * (max(abs(self.allowed), largest) or 1.0)
        if not self.points:
            return max(abs(self.allowed), least)
        errors = np.array([point.error for point in self.points])
        far = np.array([point.drop - self.allowed for point in self.points]) / max(
            abs(self.allowed), errors.min(), least
        )
        return max(float(np.average(errors, weights=1 / (1 + far**2))), least)

    @cached_property
    def drops(self) -> Floats:
        """Return the drop at each of ``shares`` by each draw of the posterior, (draws, STEPS)."""
        return self._of_draws(self.shares, self.shorter)

    @property
    def least(self) -> float:
        """Return the median of the drop at the largest share."""
        return float(self._percentiles[1, -1])

    def at(self, share: float) -> tuple[float, float]:
        """Return the mean and the standard deviation of the drop at ``share``, over trainings and samples."""
        values = self._of_draws(np.array([share]), self.shorter)
        common = sqrt(self.noise.common) if self.points else 0.0
        return float(values.mean()), float(np.hypot(values.std(), self.error * common))

    def assurance(self, share: float) -> float:
        """Return the probability that a new network, cut to ``share``, keeps the budget on the test samples."""
        return float(self._assurances[self._nearest(share)])

    def of_trained(self, point: Point) -> tuple[float, float]:
        """Return the mean and the standard deviation of the drop of the network of ``point``, one of the points."""
        drops = self._own_drops(point)
        left = self.noise.training**2 * (1 - self.noise.kept) + self.noise.common
        return float(drops.mean()), float(np.hypot(drops.std(), self.error * sqrt(left)))

    def assurance_of(self, point: Point) -> float:
        """Return the probability that the network of ``point``, one of the points, keeps it on the test samples."""
        left = self.noise.training**2 * (1 - self.noise.kept) + self.noise.shared
        return float(ndtr((self.allowed - self._own_drops(point)) / (self.error * sqrt(left))).mean())

    def smallest(self, assured: float) -> float | None:
        """Return the smallest share that keeps the budget with a probability of ``assured``, or None if none does."""
        return self._first(self._assurances >= assured)

    def smallest_within(self, drop: float) -> float | None:
        """Return the smallest share where the median of the drop is no more than ``drop``, or None if it is nowhere."""
        return self._first(self._percentiles[1] <= drop)

    def chances(self, assured: float) -> Floats:
        """Return how probable it is that a network trained at each of ``shares`` would be assured, (STEPS,).

        It is where its own drop, on the validation samples, leaves it a probability of ``assured`` to keep the budget.
        """
        low, median, high = self._percentiles
        unknown = ((high - low) / SPREAD) ** 2 + (self.noise.training * self.error) ** 2
        own, shared = (self.error**2 * each for each in (self.noise.own, self.noise.shared))
        weight = unknown / (unknown + own)
        # The largest drop that is enough, as the mean after the training and as what the samples would show.
        mean = self.allowed - ndtri(assured) * np.sqrt(unknown * (1 - weight) + shared)
        shown = median + (mean - median) / weight
        spread = self.error * sqrt(self.noise.training**2 + self.noise.own)
        return np.asarray(ndtr((shown - self.drops) / spread).mean(axis=0))

    def room(self, assured: float) -> float:
        """Return how far below what is allowed a new network's drop must be to keep the budget with that probability.

        With a curve that is known: no more candidates narrow it, and more samples do.
        """
        return float(ndtri(assured)) * self._noise

    def log_likelihood(self, training: float) -> float:
        """Return the logarithm of the points' density, but for a constant, if ``training`` were that of the noise."""
        basis, values, variances = self._observed(training)
        covariance = (basis * PRIOR_SD**2) @ basis.T + np.diag(variances)
        about = values - basis @ PRIOR_MEAN
        return float(-(np.linalg.slogdet(covariance)[1] + about @ np.linalg.solve(covariance, about)) / 2)

    def _first(self, enough: NDArray[np.bool_]) -> float | None:
        found = np.flatnonzero(enough)
        return float(self.shares[found[0]]) if len(found) else None

    @cached_property
    def _assurances(self) -> Floats:
        return np.asarray(ndtr((self.allowed - self.drops) / self._noise).mean(axis=0))

    @cached_property
    def _percentiles(self) -> Floats:
        return np.asarray(np.percentile(self.drops, PERCENTILES, axis=0))

    def _own_drops(self, point: Point) -> Floats:
        """Return a trained network's drop by each draw of the curve, (draws,), but for what its samples leave open."""
        drops = self._of_draws(np.array([point.share]), point.shorter)[:, 0]
        return np.asarray(drops + self.noise.kept * (point.drop - drops))

    @property
    def _noise(self) -> float:
        common = self.noise.common if self.points else 0.0
        return self.error * sqrt(self.noise.test**2 + self.noise.training**2 + common)

    @property
    def _scale(self) -> float:
        return max(abs(self.allowed), self.error)

    def _of_draws(self, shares: Floats, shorter: int) -> Floats:
        """Return the drops at ``shares`` by each draw, (draws, shares)."""
        basis = _basis(shares, np.full(len(shares), shorter))
        return np.asarray(self._scale * np.sinh(np.clip(self._draws @ basis.T, -12, 12)))

    @cached_property
    def _draws(self) -> Floats:
        mean, covariance = self._posterior()
        standard = np.random.default_rng(SEED).standard_normal((DRAWS, len(mean)))
        drawn = np.asarray(mean + standard @ np.linalg.cholesky(covariance).T)
        # From a small share to a large one, and from a short training to a long one.
        along = np.diff(drawn @ _basis(self.shares, np.zeros(STEPS)).T, axis=1)
        falling = np.all(along <= 1e-12, axis=1) & np.all(drawn[:, -LENGTHS:] >= 0, axis=1)
        return drawn[falling] if falling.sum() >= LEAST_DRAWS else drawn

    def _posterior(self) -> tuple[Floats, Floats]:
        precision, weighted = np.diag(PRIOR_SD**-2.0), PRIOR_MEAN / PRIOR_SD**2
        if self.points:
            basis, values, variances = self._observed(self.noise.training)
            precision = precision + (basis.T / variances) @ basis
            weighted = weighted + basis.T @ (values / variances)
        covariance = np.linalg.inv(precision)
        return np.asarray(covariance @ weighted), np.asarray(covariance)

    def _observed(self, training: float) -> tuple[Floats, Floats, Floats]:
        """Return the basis at each point, its drop on the asinh scale, and the variance of that."""
        drops = np.array([point.drop for point in self.points]) / self._scale
        errors = np.array([point.error for point in self.points]) / self._scale
        # The slope of asinh carries the noise over; far below the floor the form of the curve is a guess.
        values = np.arcsinh(drops)
        noise = (errors**2 * (self.noise.own + training**2) + 1e-6) / (1 + drops**2)
        variances = noise + FAR * (values - np.arcsinh(self.allowed / self._scale)) ** 2
        shares, shorter = (np.array([getattr(each, of) for each in self.points]) for of in ("share", "shorter"))
        return _basis(shares, shorter), values, variances

    def _nearest(self, share: float) -> int:
        return int(np.argmin(np.abs(np.log(self.shares) - np.log(share))))


def _basis(shares: Floats, shorter: NDArray[Any]) -> Floats:
    cut = -np.log(shares)
    return np.stack([np.ones_like(cut), cut, cut**2, *(shorter > each for each in range(LENGTHS))], axis=1)
