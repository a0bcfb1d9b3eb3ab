"""The goal of a search: what is made best, and the bounds that every student must keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgekd.formatting import exceeds, shortest
from edgekd.records.candidate_figures import Figures
from edgekd.report.candidate_cost import ENERGY, LATENCY, SIZE, cost_ratio, is_timed
from edgekd.search.space import Space
from edgekd.tasks.metric import Metric

__all__ = ["ENERGY", "LATENCY", "SIZE", "Goal", "goal_of"]

# Of a bound, in the place of a standard error of 0: no sample may tell two networks apart.
TINY = 1e-9


@dataclass(frozen=True)
class Goal:
    """The goal of a search: what it makes best, and what it must keep to.

    Attributes:
        objective: latency, size or energy, which is made least; or the task's first metric, which is made best.
        allowed: how much worse than the teacher the bounded metric may be, in its own scale; None where none is.
        metric: that metric where it is not the task's first.
        others: how much worse each further metric may be that is bounded, in its own scale.
        bounds: the budget's other bounds by name: latency_ratio, latency_ms, size_ratio, size_mb.
        scale, unit: of the metric's differences as people read them: 100 and points for shares.
        metrics: the task's, the first one first.
    """

    objective: str
    allowed: float | None = None
    bounds: Mapping[str, float] = field(default_factory=dict)
    scale: float = 1.0
    unit: str = ""
    metric: str | None = None
    others: Mapping[str, float] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()

    def drop(self, figures: Figures) -> tuple[float, float]:
        """Return the drop of the bounded metric, and its standard error.

        Where several are bounded, it is at its bound as the one is that is the nearest to its own, or exceeds it the
        most, in standard errors: where it keeps its bound, all do.
        """
        drop, error = (figures.drop, figures.error) if self.metric is None else figures.others[self.metric]
        if self.allowed is None or not self.others:
            return drop, error
        further = {name: _excess(figures.others[name], allowed) for name, allowed in self.others.items()}
        tightest = max(further, key=lambda name: further[name])
        if further[tightest] <= _excess((drop, error), self.allowed):
            return drop, error
        if error > _tiny(drop, self.allowed):
            return self.allowed + further[tightest] * error, error
        # No sample tells the two networks apart by this metric: what the other one shows, by the two bounds.
        (other, other_error), most = figures.others[tightest], self.others[tightest]
        ratio = abs(self.allowed / most) if self.allowed and most else 1.0
        return self.allowed + ratio * (other - most), ratio * other_error

    def shown(self, drop: float, error: float | None = None) -> str:
        """Format a drop of the metric as ``0.52 points (± 0.31)``."""
        words = f"{shortest(self.scale * drop)} {self.unit}".rstrip()
        return words if error is None else f"{words} (± {shortest(self.scale * error, 2)})"

    def compared(self, drop: float, error: float) -> str:
        """Say how much worse or better than the teacher a network is, by the metric that is bounded."""
        of = next((f" of {each.title}" for each in self.metrics if self.metric in (None, each.name)), "")
        return f"{'better' if drop < 0 else 'worse'} than the teacher by {self.shown(abs(drop), error)}{of}"

    def exceeded(self, figures: Figures) -> str:
        """Say by how much a network exceeds the bounds of metrics, where several are bounded; of all where by none."""
        bounds = {self.metric or self.metrics[0].name: self.allowed, **self.others}
        found = {}
        for each in self.metrics:
            if (most := bounds.get(each.name)) is not None:
                drop, error = (figures.drop, figures.error) if each is self.metrics[0] else figures.others[each.name]
                of = Goal(each.name, scale=each.scale, unit=each.unit_of_differences, metrics=[each])
                found[f"{of.compared(drop, error)}, with {of.shown(most)} allowed"] = exceeds(drop, most)
        return "; ".join([words for words, is_over in found.items() if is_over] or found)

    def is_near(self, figures: Figures) -> bool:
        """Tell whether the drop is about what is allowed, but for its error."""
        if self.allowed is None:
            return False
        drop, error = self.drop(figures)
        return abs(drop - self.allowed) <= abs(self.allowed) + 2 * error

    @property
    def is_cost(self) -> bool:
        """Tell whether what is made best is a cost, which falls with a cut."""
        return self.objective in (LATENCY, SIZE, ENERGY)

    @property
    def is_timed(self) -> bool:
        """Tell whether times decide: what is made best, or a bound."""
        return is_timed(self.objective, self.bounds)

    def cost(self, figures: Figures) -> float:
        """Return the network's cost over the teacher's: time where it is known, else multiply-accumulates; or size."""
        return cost_ratio(figures, self.objective, self.is_timed)

    def excess(self, figures: Figures) -> float:
        """Return the largest of the costs over their bounds; above 1 one of them is exceeded, 0 where none is set."""
        return max((value / self.bounds[name] for name, value in self.bounded(figures).items()), default=0.0)

    def bounded(self, figures: Figures) -> dict[str, float]:
        """Return the costs that are bounded and known before any training, by the names of the bounds."""
        known = {"size_ratio": figures.size_bytes / figures.teacher_size_bytes, "size_mb": figures.size_bytes / 1e6}
        if figures.ms is not None and figures.teacher_ms:
            known |= {"latency_ratio": figures.ms / figures.teacher_ms, "latency_ms": figures.ms}
        return {name: value for name, value in known.items() if name in self.bounds}


def _excess(drop: Sequence[float], allowed: float) -> float:
    """Return by how many standard errors a drop exceeds what is allowed; below 0 where it keeps to it."""
    return (drop[0] - allowed) / (max(drop[1], _tiny(drop[0], allowed)) or 1.0)


def _tiny(drop: float, allowed: float) -> float:
    """Return what a standard error is above that is more than rounding."""
    return TINY * max(abs(allowed), abs(drop))


def goal_of(space: Space) -> Goal:
    """Return what ``space`` asks for: its objective, and the bounds of its budget."""
    metrics, budget = space.base.kind.metrics, space.base.budget
    costs = {"latency_ratio", "latency_ms", "size_ratio", "size_mb"}
    bounds = {name: bound for name, bound in budget.promises.items() if name in costs}
    allowed = {each.name: budget.drops[each.name] / each.scale for each in metrics if each.name in budget.drops}
    metric = next((each for each in metrics if each.name in allowed), metrics[0])
    most = allowed.pop(metric.name, None)
    name = None if metric is metrics[0] else metric.name
    return Goal(space.objective, most, bounds, metric.scale, metric.unit_of_differences, name, allowed, metrics)
