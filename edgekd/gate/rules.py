"""The rule of each metric: how far it may get worse, which way is better, and what it means."""

from dataclasses import dataclass
from typing import Literal

from edgekd.tasks.registry import metrics_by_name

# A whole number each.
COUNTS = ("size_bytes", "params", "macs")
# May not change at all, so that there is nothing to allow.
KINDS = ("operators", "precision")


@dataclass(frozen=True)
class Tolerance:
    """How far a metric may get worse: by ``absolute``, in its own unit, or by ``relative``, a share of the baseline.

    The larger one counts, and both are at least 0.
    """

    absolute: float = 0.0
    relative: float = 0.0

    def allows(self, baseline: float) -> float:
        """Return the worsening that is allowed, in the metric's own unit."""
        return max(self.absolute, self.relative * abs(baseline))


@dataclass(frozen=True)
class Rule(Tolerance):
    """The tolerance of one metric, and what exceeding it means.

    ``direction`` says which way is better, or that nothing may change. A worsening beyond the tolerance is a failure
    or, by ``level``, a warning or mere information; one beyond ``warn`` is a warning. ``floor`` and ``ceiling`` bound
    the value itself, whatever the baseline's is.
    """

    direction: Literal["higher", "lower", "same"] = "same"
    level: Literal["fail", "warn", "information"] = "fail"
    warn: Tolerance | None = None
    floor: float | None = None
    ceiling: float | None = None

    @property
    def bounds(self) -> bool:
        """Tell whether the value itself is bounded."""
        return self.floor is not None or self.ceiling is not None

    @property
    def judges(self) -> bool:
        """Tell whether anything can fail or warn by it."""
        return self.level != "information" or self.bounds


# By which a task's metric may get worse: half a point of a share, and of any other a share of the baseline's value.
POINTS, RELATIVE = 0.005, 0.01
OF_EVERY_TASK: dict[str, Rule] = {
    "latency_ratio": Rule(direction="lower", relative=0.05),
    "size_bytes": Rule(direction="lower"),
    "params": Rule(direction="lower"),
    "macs": Rule(direction="lower"),
    "int8_coverage": Rule(direction="higher"),
    "precision": Rule(direction="same"),
    "operators": Rule(direction="same"),
    "latency_ms": Rule(direction="lower", level="information"),
}


def default_rules() -> dict[str, Rule]:
    """Return the rule of each metric that a policy may name."""
    of_tasks = {
        name: Rule(direction=metric.better, absolute=POINTS)
        if metric.unit == "%"
        else Rule(direction=metric.better, relative=RELATIVE)
        for name, metric in metrics_by_name().items()
    }
    return {**of_tasks, **OF_EVERY_TASK}


def is_share(name: str) -> bool:
    """Return whether a metric is a share of one."""
    metric = metrics_by_name().get(name)
    return name == "int8_coverage" or (metric is not None and metric.unit == "%")
