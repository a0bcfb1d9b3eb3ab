"""The choice between placements: one rule for all cases.

The rule chooses the fastest file within the bounds on size and on the task's metric. A file slower than its float twin
(the same network in float) is chosen only if the twin is too large, or misses the bound on the metric significantly. If
no file keeps that bound, the choice is the fastest of those that are not significantly worse than the best; where the
twin is small enough, only files that are not slower than it are considered. A size that no file keeps is ignored.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgekd.strict_json import JsonObject
from edgekd.tasks.compare import compare
from edgekd.tasks.metric import Evidence, Metric

INT8, FLOAT = "int8", "float"
# A candidate's time must be at most this share of all int8's to justify the larger file.
LEAST_GAIN = 0.99
# Significance level of the paired test.
SIGNIFICANCE = 0.05
SIZE = "size"


@dataclass(frozen=True)
class MetricBound:
    """A bound on what a file predicts: the worst value of ``metric`` on the validation samples."""

    metric: Metric
    limit: float

    def is_kept_by(self, found: Evidence) -> bool:
        """Tell whether the metric of ``found`` is within the bound."""
        return self.metric.keeps(found.value(), self.limit)


@dataclass(frozen=True)
class Bounds:
    """Bounds on a file: on the task's metric, and the largest size in bytes."""

    metric: MetricBound | None = None
    size_bytes: float | None = None

    def to_json(self) -> JsonObject:
        metric = {self.metric.metric.name: self.metric.limit} if self.metric else {}
        return {**metric, "size_bytes": self.size_bytes}


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
        missed: the bounds that the chosen placement misses: the metric's name, ``size``.
        slower_for: the bound because of which a slower placement than the float twin was chosen.
    """

    chosen: str
    candidates: tuple[PlacementCandidate, ...]
    missed: tuple[str, ...] = ()
    slower_for: str | None = None

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
    evidence: Callable[[PlacementCandidate], Evidence],
) -> PlacementResult:
    """Choose the candidate to write.

    Args:
        candidates: all int8, the float twin, and any others.
        size_of: returns the bytes of a candidate's file; called only with a bound on the size.
        evidence: returns the metric's evidence for a candidate's file on the validation samples; called only with a
            bound on the metric, for the fastest candidates first, and only until one keeps it.
    """
    ranked = sorted(candidates, key=_rank)
    small = ranked if bounds.size_bytes is None else [one for one in ranked if size_of(one) <= bounds.size_bytes]
    pool = small or ranked
    chosen, bad = _by_metric(pool, bounds.metric, evidence) if bounds.metric else (pool[0], set())
    large = {one.name for one in ranked} - {one.name for one in small}
    missed = {bounds.metric.metric.name: bad} if bounds.metric else {}
    forced = SIZE if all(one.name != FLOAT for one in pool) else next(iter(missed), None)
    return PlacementResult(
        chosen.name,
        tuple(replace(one, accepted=one.name not in bad | large) for one in candidates),
        tuple(bound for bound, names in {**missed, SIZE: large}.items() if chosen.name in names),
        forced if chosen.is_slower else None,
    )


def _by_metric(
    pool: Sequence[PlacementCandidate], bound: MetricBound, evidence: Callable[[PlacementCandidate], Evidence]
) -> tuple[PlacementCandidate, set[str]]:
    """Return the choice among ``pool``, the fastest first, and the names of those that miss the bound."""
    found: dict[str, Evidence] = {}
    good = None
    for one in pool:
        found[one.name] = evidence(one)
        if bound.is_kept_by(found[one.name]):
            good = one
            break
    as_fast = [one for one in pool if not one.is_slower] or pool
    best = min(as_fast, key=lambda one: bound.metric.drop(0, found[one.name].value())) if good is None else good
    rivals = as_fast if good is None else [one for one in as_fast if best.is_slower and not one.is_slower]
    alike = (one for one in rivals if not significantly_worse(bound.metric, found[one.name], found[best.name]))
    return next(alike, best), {name for name, each in found.items() if not bound.is_kept_by(each)}


def significantly_worse(metric: Metric, found: Evidence, reference: Evidence) -> bool:
    """Tell whether ``found`` is worse than ``reference`` on the same samples, by the metric's paired test."""
    return compare(metric, reference, found).p < SIGNIFICANCE


def _rank(each: PlacementCandidate) -> float:
    """Return the ratio to rank by; all int8, the smallest file, counts as faster than it is unless it is slower."""
    ratio = 1.0 if each.ratio is None else each.ratio
    return ratio * (LEAST_GAIN if each.name == INT8 and not each.is_slower else 1.0)
