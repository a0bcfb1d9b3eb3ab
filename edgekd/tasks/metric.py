"""Metrics of networks, and the evidence from which a metric follows for any weights of samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from edgekd.errors import DataError
from edgekd.formatting import RESULTS, Column, between, percent, points, significant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Literal

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Rows = Sequence[bool] | NDArray[Any]  # one for each sample

# NumPy is imported where it is used: a gate that compares right with wrong starts without it.

# In place of a metric of outputs that are not finite.
NO_NUMBER = "no number"


class Evidence(ABC):
    """The results of one network on each of N samples: all that a metric needs.

    Subclasses are dataclasses whose fields are arrays of N rows, and give :meth:`values`. A sample is what is drawn
    from the world: an image, a document, a speaker; never a box or a pixel.

    Raises:
        DataError: the arrays are not of the same samples.
    """

    def __post_init__(self) -> None:
        if len({len(rows) for rows in self.arrays().values()}) != 1:
            counts = ", ".join(f"{name} {len(rows)}" for name, rows in self.arrays().items())
            raise DataError(f"evidence has a row for each sample, and not as many in each array: {counts}")

    @abstractmethod
    def values(self, weights: Floats) -> Floats:
        """Return the metric (draws,) for each row of ``weights`` (draws, N), which are at least 0 and not all 0."""

    @property
    def n(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.arrays().values())))

    def value(self, weights: Floats | None = None) -> float:
        """Return the metric, of all samples alike or for ``weights`` (N,)."""
        import numpy as np

        row = np.ones(self.n) if weights is None else np.asarray(weights, np.float64)
        return float(self.values(row[None])[0])

    def arrays(self) -> dict[str, Rows]:
        """Return what the evidence holds, by field: for a .npz, of which ``type(self)(**arrays)`` makes it again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def joined(self, other: Evidence) -> Evidence:
        """Return the evidence of these samples and then ``other``'s; raises ValueError where it is of other classes."""
        import numpy as np

        theirs = other.arrays()
        return type(self)(**{name: np.concatenate([ours, theirs[name]]) for name, ours in self.arrays().items()})


@dataclass(frozen=True, eq=False)
class Correct(Evidence):
    """Which samples (N,) are predicted correctly; the metric is their share, in [0, 1]."""

    correct: Sequence[bool] | NDArray[np.bool_]

    def values(self, weights: Floats) -> Floats:
        import numpy as np

        found: Floats = weights @ np.asarray(self.correct, np.float64) / weights.sum(1)
        return found

    def value(self, weights: Floats | None = None) -> float:
        return sum(map(bool, self.correct)) / self.n if weights is None else super().value(weights)


@dataclass(frozen=True)
class Metric:
    """A figure of a network on a test set.

    Attributes:
        name: as recipes, reports and policies write it.
        title: as people read it.
        unit: of a value as people read it; ``%`` is for shares, which are computed in [0, 1].
        better: which values are.
        test: what compares two networks: McNemar's exact test where a sample is right or wrong, and the evidence is
            :class:`Correct`; else a bootstrap of samples.
        evidence: takes a task's predictions and its targets, by name.
        evidence_type: gives the class of the evidence, which a file's arrays make again.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    test: Literal["mcnemar", "bootstrap"]
    evidence: Callable[[Any, Mapping[str, NDArray[Any]]], Evidence]
    evidence_type: Callable[[], type[Evidence]]

    @property
    def interval_key(self) -> str:
        """Return the key of the metric's 95 % interval in rows, next to that of its value, which is the name."""
        return f"{self.name}_ci95"

    @property
    def scale(self) -> int:
        """Return what a value is multiplied by to be read in ``unit``."""
        return 100 if self.unit == "%" else 1

    @property
    def unit_of_differences(self) -> str:
        """Return the unit of differences: points for shares."""
        return "points" if self.unit == "%" else self.unit

    @property
    def heading(self) -> str:
        """Return the title as it begins a line."""
        return self.title[:1].upper() + self.title[1:]

    @property
    def axis(self) -> str:
        """Return the title with the unit."""
        return f"{self.title} in {self.unit}" if self.unit else self.title

    def shown(self, value: float | None, interval: Sequence[float] | None = None) -> str:
        """Format a value and its interval as ``97.2 % (95.9–98.1)``, or ``4.12 mm (3.9–4.3)``."""
        if self.unit == "%" or value is None:
            return percent(value, interval)
        return f"{significant(value)} {self.unit}".rstrip() + between(interval, significant)

    def shown_change(self, change: float, interval: Sequence[float] | None = None) -> str:
        """Format a change as ``−1.4 points (−2.9 to +0.1)``, or ``+0.12 mm (−0.3 to +0.5)``; both are in own scale."""
        if self.unit == "%":
            return points(100 * change, [100 * end for end in interval] if interval else None)
        reach = f" ({_signed(interval[0])} to {_signed(interval[1])})" if interval else ""
        return f"{_signed(change)} {self.unit}".rstrip() + reach

    @property
    def axis_of_changes(self) -> str:
        """Return the words for its changes, with their unit."""
        return f"change of {self.title}" + (f" in {self.unit_of_differences}" if self.unit else "")

    def change(self, drop: float) -> float:
        """Return how much higher the value is by which it is ``drop`` worse: below 0 where more is better."""
        return -drop if self.better == "higher" else drop

    def column(self) -> Column:
        """Return the column of a table of rows that holds the metric with its interval."""
        return Column(self.heading, lambda row: self.shown(row.get(self.name), row.get(self.interval_key)))

    def drop(self, before: float, after: float) -> float:
        """Return how much worse ``after`` is, below 0 where it is better."""
        return before - after if self.better == "higher" else after - before

    def limit(self, reference: float, drop: float) -> float:
        """Return the worst value that is within ``drop`` of ``reference``, in the unit of differences."""
        return reference - drop / self.scale if self.better == "higher" else reference + drop / self.scale

    def keeps(self, value: float, limit: float) -> bool:
        """Return whether ``value`` is as good as ``limit``, but for rounding: 0.1 − 0.01 is a hair above 0.09."""
        # In whatever unit the metric is; near 0, of what the subtraction of a limit leaves.
        rounding = max(1e-15, min(5e-10, 1e-9 * max(abs(value), abs(limit))))
        return self.drop(limit, value) <= rounding

    def precisely(self, value: float) -> str:
        """Format a value as ``97.24%``, or ``4.123 mm``, where close values are compared."""
        if value != value:
            return NO_NUMBER
        return f"{value:.2%}" if self.unit == "%" else f"{significant(value, 4)} {self.unit}".rstrip()


@dataclass(frozen=True)
class SharedEvidence:
    """The evidence of a metric, made of what several metrics of its task share, such as matches of boxes.

    Attributes:
        shared: takes predictions and targets; of metrics with the same function, :func:`evidence_for` calls it once.
        evidence: takes what ``shared`` gives.
    """

    shared: Callable[[Any, Mapping[str, NDArray[Any]]], Any]
    evidence: Callable[[Any], Evidence]

    def __call__(self, predictions: Any, targets: Mapping[str, NDArray[Any]]) -> Evidence:
        return self.evidence(self.shared(predictions, targets))


def evidence_for(
    metrics: Iterable[Metric], predictions: Any, targets: Mapping[str, NDArray[Any]]
) -> dict[str, Evidence]:
    """Return the evidence of each metric by its name; what metrics share is computed once."""
    known: dict[Any, Any] = {}
    found = {}
    for metric in metrics:
        how = metric.evidence
        if not isinstance(how, SharedEvidence):
            found[metric.name] = how(predictions, targets)
            continue
        if how.shared not in known:
            known[how.shared] = how.shared(predictions, targets)
        found[metric.name] = how.evidence(known[how.shared])
    return found


def result_columns(metrics: Iterable[Metric]) -> list[Column]:
    """Return the columns of a table of rows: these metrics, then size and latency."""
    return [*(metric.column() for metric in metrics), *RESULTS]


def _signed(value: float) -> str:
    return ("−" if value < 0 else "+" if value > 0 else "") + significant(abs(value))
