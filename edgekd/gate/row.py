"""The figures of the deployed network at one place, as a gate compares them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeVar

from edgekd.stats.correct import decode_correct
from edgekd.strict_json import build

# Of a ratio's own interval.
INTERVAL = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class TimeRatio:
    """One time over another; ``valid`` is false where the measurement was disturbed."""

    ratio: float
    ci95: tuple[float, float] | None = None
    valid: bool = True

    @property
    def spread(self) -> float | None:
        """Return the standard error of the ratio's logarithm, or None without an interval."""
        return math.log(self.ci95[1] / self.ci95[0]) / (2 * INTERVAL) if self.ci95 else None

    def to_json(self) -> dict[str, Any]:
        return {"ratio": self.ratio, "valid": self.valid, **({"ci95": list(self.ci95)} if self.ci95 else {})}


@dataclass(frozen=True)
class BaselineRatio(TimeRatio):
    """A network's time over that of a baseline's file, timed in turns."""

    baseline_sha256: str = ""


@dataclass(frozen=True)
class TeacherFigures:
    """The teacher that a latency is a ratio to; what is None was not recorded."""

    file_sha256: str | None = None
    accuracy: float | None = None
    size_bytes: int | None = None
    params: int | None = None
    macs: int | None = None
    precision: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class GateRow:
    """Figures by the names of the metrics, of the types and ranges that were checked; None where not measured.

    ``right`` holds one bit for each of the ``n`` test samples (:mod:`edgekd.stats.correct`). ``latency_vs_baseline`` is
    a run's alone: later runs are timed against the file of a baseline.
    """

    device: str | None = None
    runtime: str | None = None
    threads: int | None = None
    built_for: str | None = None
    accuracy: float | None = None
    n: int | None = None
    right: str | None = None
    file_sha256: str | None = None
    size_bytes: int | None = None
    params: int | None = None
    macs: int | None = None
    precision: str | None = None
    operators: Mapping[str, int] | None = None
    int8_coverage: float | None = None
    latency_ms: float | None = None
    latency_ratio: TimeRatio | None = None
    teacher: TeacherFigures | None = None
    latency_vs_baseline: BaselineRatio | None = None

    @property
    def correct(self) -> tuple[bool, ...] | None:
        """Return which test samples the network classified correctly, (N,), or None if that was not kept."""
        return decode_correct(self.right, self.n)

    def is_timed_against(self, baseline: "GateRow") -> bool:
        """Tell whether the file was timed in turns with that of ``baseline``."""
        timed = self.latency_vs_baseline
        return timed is not None and bool(timed.baseline_sha256) and timed.baseline_sha256 == baseline.file_sha256

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "GateRow":
        """Read the row of a baseline, whose shape was checked."""
        return build(
            cls,
            row,
            latency_ratio=ratio_of(TimeRatio, row.get("latency_ratio")),
            teacher=None if row.get("teacher") is None else build(TeacherFigures, row["teacher"]),
            latency_vs_baseline=None,
        )

    @classmethod
    def of_report(cls, row: Mapping[str, Any], teacher: Mapping[str, Any] | None) -> "GateRow":
        """Read the row of a report, whose shape was checked, with the ``teacher``'s row at the same place."""
        ratio = ratio_of(TimeRatio, row.get("latency_vs_teacher"), valid=row.get("valid", True) is not False)
        return build(
            cls,
            row,
            latency_ms=(row.get("latency_ms") or {}).get("p50"),
            latency_ratio=ratio,
            teacher=build(TeacherFigures, teacher or {}) if ratio else None,
            latency_vs_baseline=ratio_of(BaselineRatio, row.get("latency_vs_baseline")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row as a baseline holds it."""
        found = {name: value for name, value in vars(self).items() if value is not None}
        found.pop("latency_vs_baseline", None)
        return found | {name: found[name].to_json() for name in ("latency_ratio", "teacher") if name in found}


R = TypeVar("R", bound=TimeRatio)


def ratio_of(kind: type[R], figures: Mapping[str, Any] | None, **others: Any) -> R | None:
    """Return the ratio in ``figures``, or None if there is none."""
    if not figures:
        return None
    known = {name: value for name, value in figures.items() if value is not None}
    ends = known.get("ci95")
    return build(kind, known, ci95=tuple(ends) if ends else None, **others)
