"""Which of several placements is written: one rule for every case.

The fastest file that keeps the size and the accuracy that were asked for. A file slower than its float twin comes out
only where the twin is too large, or where it keeps an accuracy that the twin surely misses. Where no file keeps the
accuracy, it is the fastest of those that the validation samples cannot tell from the most accurate one, none of them
slower than the twin if that is small enough; a size that no file keeps rules out none.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.stats.paired import mcnemar

INT8, FLOAT = "int8", "float"
# A candidate must be this much faster than all int8 to be worth the larger file.
WORTH = 0.99
# Of the one-sided exact McNemar test: how often equally accurate files would differ by as many samples.
SURE = 0.05

Bound = Literal["accuracy", "size"]


@dataclass(frozen=True)
class Bounds:
    """What a file must keep: a share of the validation samples classified correctly, a size in bytes."""

    accuracy: float | None = None
    size_bytes: float | None = None

    def least_correct(self, n: int) -> int:
        """The fewest of ``n`` samples that keep the accuracy; 93 of 100 keep 0.94 - 0.01, whatever a float says."""
        return math.ceil(round((self.accuracy or 0.0) * n, 6))


NO_BOUNDS = Bounds()


@dataclass(frozen=True)
class PlacementCandidate:
    """One placement: what it leaves in float, and its time over the float twin's, None where it cannot be timed.

    ``accepted`` is False where its file was found to miss a bound.
    """

    name: str
    keep_float: tuple[str, ...]
    ratio: float | None
    ci95: tuple[float, float] | None
    accepted: bool = True

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "PlacementCandidate":
        interval = document["ci95"]
        return cls(
            **{**document, "keep_float": tuple(document["keep_float"]), "ci95": tuple(interval) if interval else None}
        )

    @property
    def is_slower(self) -> bool:
        """Than the float twin."""
        return self.ratio is not None and self.ratio > 1


@dataclass(frozen=True)
class Placed:
    """The placement that was chosen, and all that were considered.

    Attributes:
        missed: the bounds that the chosen one misses.
        slower_for: the bound for which a slower one than the float twin was chosen.
    """

    chosen: str
    candidates: tuple[PlacementCandidate, ...]
    missed: tuple[Bound, ...] = ()
    slower_for: Bound | None = None

    @property
    def keep_float(self) -> tuple[str, ...]:
        return next(each.keep_float for each in self.candidates if each.name == self.chosen)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Placed":
        candidates = tuple(PlacementCandidate.from_json(each) for each in document["candidates"])
        return cls(document["chosen"], candidates, tuple(document["missed"]), document["slower_for"])


def choose(
    candidates: Sequence[PlacementCandidate],
    bounds: Bounds,
    size_of: Callable[[PlacementCandidate], int],
    correct: Callable[[PlacementCandidate], NDArray[np.bool_]],
) -> Placed:
    """Choose the candidate to write.

    Args:
        candidates: all int8, the float twin, and any others.
        size_of: the bytes of a candidate's file; not called without a bound on the size.
        correct: (N,), which validation samples the file classifies correctly; called for the fastest first, for no
            more candidates than need be, and not at all without a bound on the accuracy.
    """
    ranked = sorted(candidates, key=_rank)
    small = ranked if bounds.size_bytes is None else [one for one in ranked if size_of(one) <= bounds.size_bytes]
    pool = small or ranked
    answers: dict[str, NDArray[np.bool_]] = {}

    def is_accurate(one: PlacementCandidate) -> bool:
        if bounds.accuracy is None:
            return True
        answers[one.name] = correct(one)
        return _is_enough(answers[one.name], bounds)

    accurate = next((one for one in pool if is_accurate(one)), None)
    as_fast = [one for one in pool if not one.is_slower] or pool
    chosen = accurate or max(as_fast, key=lambda one: int(answers[one.name].sum()))
    rivals = as_fast if accurate is None else [one for one in as_fast if chosen.is_slower and not one.is_slower]
    if alike := [one for one in rivals if not surely_worse(answers[one.name], answers[chosen.name])]:
        chosen = alike[0]
    refused = {name for name, found in answers.items() if not _is_enough(found, bounds)}
    large = {one.name for one in ranked} - {one.name for one in small}
    missed: dict[Bound, set[str]] = {"accuracy": refused, "size": large}
    is_twin_too_large = all(one.name != FLOAT for one in pool)
    return Placed(
        chosen.name,
        tuple(replace(one, accepted=one.name not in refused | large) for one in candidates),
        tuple(bound for bound, names in missed.items() if chosen.name in names),
        ("size" if is_twin_too_large else "accuracy") if chosen.is_slower else None,
    )


def surely_worse(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> bool:
    """Whether the exact McNemar test finds ``ours`` less accurate than ``theirs`` on the same samples, (N,) each."""
    lost, won = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    return lost > won and mcnemar(lost, won) < SURE


def _is_enough(correct: NDArray[np.bool_], bounds: Bounds) -> bool:
    return int(correct.sum()) >= bounds.least_correct(len(correct))


def _rank(each: PlacementCandidate) -> float:
    """All int8 is the smallest: where it is not slower than float, it counts as a hundredth faster than it is."""
    ratio = 1.0 if each.ratio is None else each.ratio
    return ratio * (WORTH if each.name == INT8 and not each.is_slower else 1.0)
