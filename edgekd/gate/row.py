"""The figures of the deployed network at one place, as a gate compares them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, TypeVar

from edgekd.bench.validity import INVALIDATING
from edgekd.formatting import place_text
from edgekd.strict_json import build_record
from edgekd.tasks.evidence_file import EvidenceFile, compared_by_file
from edgekd.tasks.metric import Evidence, Metric

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
    """The teacher that a latency is a ratio to, with its task's ``metrics``; what is None was not recorded."""

    file_sha256: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    size_bytes: int | None = None
    params: int | None = None
    macs: int | None = None
    precision: str | None = None

    @classmethod
    def from_json(cls, row: Mapping[str, Any], metrics: Iterable[Metric]) -> "TeacherFigures":
        return build_record(cls, row, metrics=_values(row, metrics))

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in _flat(self).items() if value is not None}


@dataclass(frozen=True)
class GateRow:
    """Figures by the names of the metrics, of the types and ranges that were checked; None where not measured.

    Attributes:
        metrics: the task's, by name.
        right: a bit for each of the ``n`` test samples (:mod:`edgekd.stats.correct`), where these are right or wrong.
        evidence: a file with what other metrics need of each sample.
        kept: both of these as they are compared, by metric.
        built_for_device: the devices that a file by emulation is for; baselines of before do not have it.
        latency_ms: the latency as a user saw it; ``cost_ms`` is without what other processes took, and of a run
            ``cost_at_least_ms`` the lower end of its interval.
        latency_vs_baseline: a run's alone: later runs are timed against the file of a baseline.
        valid: whether its times were measured as they should be; ``why_invalid`` says why not, of a run.
    """

    device: str | None = None
    runtime: str | None = None
    threads: int | None = None
    built_for: str | None = None
    built_for_device: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    n: int | None = None
    right: str | None = None
    evidence: EvidenceFile | None = None
    file_sha256: str | None = None
    size_bytes: int | None = None
    params: int | None = None
    macs: int | None = None
    precision: str | None = None
    operators: Mapping[str, int] | None = None
    int8_coverage: float | None = None
    latency_ms: float | None = None
    cost_ms: float | None = None
    latency_ratio: TimeRatio | None = None
    teacher: TeacherFigures | None = None
    latency_vs_baseline: BaselineRatio | None = None
    valid: bool = True
    why_invalid: str | None = field(default=None, compare=False)
    cost_at_least_ms: float | None = field(default=None, compare=False)
    kept: Mapping[str, Evidence] = field(default_factory=dict, compare=False)

    @property
    def place_text(self) -> str:
        """Return where it was measured, for people: ``cpu, onnxruntime, 1 thread``."""
        return place_text(vars(self))

    def figure(self, metric: str) -> Any:
        """Return a metric, the task's or another, or None if it was not measured."""
        return self.metrics[metric] if metric in self.metrics else getattr(self, metric, None)

    def is_timed_against(self, baseline: "GateRow") -> bool:
        """Tell whether the file was timed in turns with that of ``baseline``."""
        timed = self.latency_vs_baseline
        return timed is not None and bool(timed.baseline_sha256) and timed.baseline_sha256 == baseline.file_sha256

    @classmethod
    def from_json(cls, row: Mapping[str, Any], metrics: Iterable[Metric], kept: Mapping[str, Evidence]) -> "GateRow":
        """Read the row of a baseline, whose shape was checked, of a task with ``metrics``."""
        ratio = ratio_of(TimeRatio, row.get("latency_ratio"))
        return build_record(
            cls,
            row,
            metrics=_values(row, metrics),
            evidence=_evidence(row, metrics),
            kept=kept,
            latency_ratio=ratio,
            valid=ratio is None or ratio.valid,
            why_invalid=None,
            cost_at_least_ms=None,
            teacher=None if row.get("teacher") is None else TeacherFigures.from_json(row["teacher"], metrics),
            latency_vs_baseline=None,
        )

    @classmethod
    def of_report(
        cls,
        row: Mapping[str, Any],
        teacher: Mapping[str, Any] | None,
        metrics: Iterable[Metric],
        kept: Mapping[str, Evidence],
    ) -> "GateRow":
        """Read the row of a report, whose shape was checked, with the ``teacher``'s row at the same place."""
        valid = row.get("valid", True) is not False
        ratio, cost = ratio_of(TimeRatio, row.get("latency_vs_teacher"), valid=valid), row.get("cost_ms") or {}
        return build_record(
            cls,
            row,
            metrics=_values(row, metrics),
            evidence=_evidence(row, metrics),
            kept=kept,
            latency_ms=(row.get("latency_ms") or {}).get("p50"),
            cost_ms=cost.get("p50"),
            cost_at_least_ms=(cost.get("ci95_p50") or [None])[0],
            valid=valid,
            why_invalid=None if valid else _why_invalid(row),
            latency_ratio=ratio,
            teacher=TeacherFigures.from_json(teacher or {}, metrics) if ratio else None,
            latency_vs_baseline=ratio_of(BaselineRatio, row.get("latency_vs_baseline")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row as a baseline holds it."""
        found = {name: value for name, value in _flat(self).items() if value is not None}
        for name in ("latency_vs_baseline", "valid", "why_invalid", "cost_at_least_ms", "kept"):
            found.pop(name, None)
        return found | {
            name: found[name].to_json() for name in found if name in ("evidence", "latency_ratio", "teacher")
        }


R = TypeVar("R", bound=TimeRatio)


def ratio_of(kind: type[R], figures: Mapping[str, Any] | None, **others: Any) -> R | None:
    """Return the ratio in ``figures``, or None if there is none."""
    if not figures:
        return None
    known = {name: value for name, value in figures.items() if value is not None}
    ends = known.get("ci95")
    return build_record(kind, known, ci95=tuple(ends) if ends else None, **others)


def _values(row: Mapping[str, Any], metrics: Iterable[Metric]) -> dict[str, float]:
    return {metric.name: row[metric.name] for metric in metrics if row.get(metric.name) is not None}


def _why_invalid(row: Mapping[str, Any]) -> str | None:
    """Say why the times of a report's row do not count, with the way out; None if its warnings do not say."""
    warnings = row.get("warnings") or []
    return "; ".join(dict.fromkeys(each["message"] for each in warnings if each["code"] in INVALIDATING)) or None


def _evidence(row: Mapping[str, Any], metrics: Iterable[Metric]) -> EvidenceFile | None:
    # A file that no metric needs has been looked at by nobody.
    if row.get("evidence") is None or not compared_by_file(metrics):
        return None
    return build_record(EvidenceFile, row["evidence"])


def _flat(figures: GateRow | TeacherFigures) -> dict[str, Any]:
    """Fields by name, with the task's metrics among them."""
    found: dict[str, Any] = {}
    for name, value in vars(figures).items():
        found |= value if name == "metrics" else {name: value}
    return found
