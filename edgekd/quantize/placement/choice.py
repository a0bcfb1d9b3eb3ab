"""The choice between placements: one rule for all cases.

The rule chooses the fastest file within the bounds on size and accuracy. A file slower than its float twin (the same
network in float) is chosen only if the twin is too large, or misses the accuracy significantly. If no file keeps the
accuracy, the choice is the fastest of those that are not significantly less accurate than the best; where the twin is
small enough, only files that are not slower than it are considered. A size that no file keeps is ignored.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.stats.paired import mcnemar

INT8, FLOAT = "int8", "float"
# A candidate's time must be at most this share of all int8's to justify the larger file.
LEAST_GAIN = 0.99
# Significance level of the exact McNemar test.
SIGNIFICANCE = 0.05

Bound = Literal["accuracy", "size"]


@dataclass(frozen=True)
class Bounds:
    """Bounds on a file: the least share of correctly classified validation samples, and the largest size in bytes."""

    accuracy: float | None = None
    size_bytes: float | None = None

    def least_correct(self, n: int) -> int:
        """Return the least number of ``n`` samples for the accuracy, robust to rounding: 93 of 100 for 0.94 - 0.01."""
        return math.ceil(round((self.accuracy or 0.0) * n, 6))


NO_BOUNDS = Bounds()


@dataclass(frozen=True)
class PlacementCandidate:
    """A candidate placement.

    Attributes:
        keep_float: what stays in float.
        ratio: its time over the float twin's; None if it cannot be timed.
        ci95: 95 % interval of the ratio.
        accepted: False if its file was found to miss a bound.
    """

    name: str
    keep_float: tuple[str, ...]
    ratio: float | None
    ci95: tuple[float, float] | None
    accepted: bool = True

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "PlacementCandidate":
        """Read the JSON form, that of :func:`dataclasses.asdict`."""
        interval = document["ci95"]
        return cls(
            **{**document, "keep_float": tuple(document["keep_float"]), "ci95": tuple(interval) if interval else None}
        )

    @property
    def is_slower(self) -> bool:
        """Tell whether the candidate is slower than the float twin."""
        return self.ratio is not None and self.ratio > 1


@dataclass(frozen=True)
class PlacementResult:
    """The chosen placement, and all candidates.

    Attributes:
        missed: the bounds that the chosen placement misses.
        slower_for: the bound because of which a slower placement than the float twin was chosen.
    """

    chosen: str
    candidates: tuple[PlacementCandidate, ...]
    missed: tuple[Bound, ...] = ()
    slower_for: Bound | None = None

    @property
    def keep_float(self) -> tuple[str, ...]:
        """Return what the chosen placement keeps in float."""
        return next(each.keep_float for each in self.candidates if each.name == self.chosen)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "PlacementResult":
        candidates = tuple(PlacementCandidate.from_json(each) for each in document["candidates"])
        return cls(document["chosen"], candidates, tuple(document["missed"]), document["slower_for"])


def choose_placement(
    candidates: Sequence[PlacementCandidate],
    bounds: Bounds,
    size_of: Callable[[PlacementCandidate], int],
    correct: Callable[[PlacementCandidate], NDArray[np.bool_]],
) -> PlacementResult:
    """Choose the candidate to write.

    Args:
        candidates: all int8, the float twin, and any others.
        size_of: returns the bytes of a candidate's file; called only with a bound on the size.
        correct: returns which validation samples the file classifies correctly, (N,); called only with a bound on the
            accuracy, for the fastest candidates first, and only until one is accurate enough.
    """
    ranked = sorted(candidates, key=_rank)
    small = ranked if bounds.size_bytes is None else [one for one in ranked if size_of(one) <= bounds.size_bytes]
    pool = small or ranked
    evaluated: dict[str, NDArray[np.bool_]] = {}

    def is_accurate(one: PlacementCandidate) -> bool:
        if bounds.accuracy is None:
            return True
        evaluated[one.name] = correct(one)
        return _is_enough(evaluated[one.name], bounds)

    accurate = next((one for one in pool if is_accurate(one)), None)
    as_fast = [one for one in pool if not one.is_slower] or pool
    chosen = accurate or max(as_fast, key=lambda one: int(evaluated[one.name].sum()))
    rivals = as_fast if accurate is None else [one for one in as_fast if chosen.is_slower and not one.is_slower]
    if alike := [one for one in rivals if not significantly_worse(evaluated[one.name], evaluated[chosen.name])]:
        chosen = alike[0]
    inaccurate = {name for name, found in evaluated.items() if not _is_enough(found, bounds)}
    large = {one.name for one in ranked} - {one.name for one in small}
    missed: dict[Bound, set[str]] = {"accuracy": inaccurate, "size": large}
    is_twin_too_large = all(one.name != FLOAT for one in pool)
    return PlacementResult(
        chosen.name,
        tuple(replace(one, accepted=one.name not in inaccurate | large) for one in candidates),
        tuple(bound for bound, names in missed.items() if chosen.name in names),
        ("size" if is_twin_too_large else "accuracy") if chosen.is_slower else None,
    )


def significantly_worse(correct: NDArray[np.bool_], reference: NDArray[np.bool_]) -> bool:
    """Tell whether ``correct`` is less accurate than ``reference``, (N,) each, by the exact McNemar test."""
    lost, won = int((reference & ~correct).sum()), int((correct & ~reference).sum())
    return lost > won and mcnemar(lost, won) < SIGNIFICANCE


def _is_enough(correct: NDArray[np.bool_], bounds: Bounds) -> bool:
    return int(correct.sum()) >= bounds.least_correct(len(correct))


def _rank(each: PlacementCandidate) -> float:
    """Return the ratio to rank by; all int8, the smallest file, counts as faster than it is unless it is slower."""
    ratio = 1.0 if each.ratio is None else each.ratio
    return ratio * (LEAST_GAIN if each.name == INT8 and not each.is_slower else 1.0)
