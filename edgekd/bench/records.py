"""Results of a measurement, and their JSON. A metric that was not measured is absent."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edgekd.bench.validity import INVALIDATING
from edgekd.runtime import DEFAULT
from edgekd.stats.percentiles import Interval
from edgekd.strict_json import known_to_json


@dataclass(frozen=True)
class MeasurementWarning:
    """A reason to doubt a measurement: a code for machines, a sentence for people."""

    code: str
    message: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class LatencySummary:
    """Statistics of ``n`` latencies in milliseconds; a percentile that needs more samples is None.

    ``ci95_p50`` and its like are order-statistic intervals: they cover more samples of the same launches, not another
    launch or another day.
    """

    min: float
    mean: float
    n: int
    p50: float
    ci95_p50: Interval | None = None
    p90: float | None = None
    ci95_p90: Interval | None = None
    p95: float | None = None
    ci95_p95: Interval | None = None
    p99: float | None = None
    ci95_p99: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        return known_to_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "LatencySummary":
        known: Any = {key: tuple(each) if isinstance(each, list) else each for key, each in document.items()}
        return cls(**known)


@dataclass(frozen=True)
class CostSummary:
    """Milliseconds that one inference costs: its latency without what other processes took of it.

    Where the processors are shared, a latency says what a user would see at that moment, a cost what the code takes.

    Attributes:
        p50: the median, over the inferences of all rounds that count.
        rounds: how many rounds count, ``of`` how many; the rest cannot be told from what others did.
        taken: the share of wall time in which others ran in its place, 0 to 1.
        ci95_p50: an order-statistic interval, as of a latency.
        real_time: some of it was measured at real-time priority, since others were in the way.
    """

    p50: float
    rounds: int
    of: int
    taken: float
    ci95_p50: Interval | None = None
    real_time: bool = False

    def to_json(self) -> dict[str, Any]:
        return known_to_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "CostSummary":
        known: Any = {key: tuple(each) if isinstance(each, list) else each for key, each in document.items()}
        return cls(**known)


@dataclass(frozen=True)
class LatencyRatio:
    """A cost over the reference's; ``ci95`` is None if there were too few launches for an interval."""

    ratio: float
    ci95: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        return known_to_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "LatencyRatio":
        interval = document.get("ci95")
        return cls(document["ratio"], (interval[0], interval[1]) if interval else None)


@dataclass(frozen=True)
class EnergyRecord:
    """Energy of one inference, with what ``rails`` take at rest; mean ``watts`` over ``n`` inferences.

    ``rails`` are those of a Jetson's module, or the packages of processors.
    """

    joules: float
    watts: float
    rails: tuple[str, ...]
    n: int

    def to_json(self) -> dict[str, Any]:
        return known_to_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "EnergyRecord":
        return cls(**{**document, "rails": tuple(document["rails"])})


@dataclass(frozen=True)
class ClockRecord:
    """Clock rates in MHz after blocks of a model, of the slowest CPU that it ran on."""

    median: float
    lowest: float
    highest: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SessionInfo:
    """A loaded model: the times of loading and of the first inference, and where it really runs."""

    load_ms: float
    first_ms: float
    providers: list[str]
    batch: int
    cpus: list[int] | None


@dataclass(frozen=True)
class LatencyRecord:
    """One model's times in milliseconds, and every sample: ``raw_ns`` by launch, by round.

    Steady state is in ``latency_ms``, as a user would see it, and in ``cost_ms``, without what other processes took;
    ``latency_vs_reference`` is the ratio of two costs. ``load_ms`` and ``first_ms`` (the first inference) are medians
    over launches.
    On a GPU the inputs and outputs lie there, and the copies are ``transfers_ms``, ``in`` and ``out``.
    """

    latency_ms: LatencySummary
    load_ms: float | None
    first_ms: float | None
    threads: int
    batch: int
    providers: list[str]
    raw_ns: list[list[list[int]]] = field(repr=False)
    runtime: str = DEFAULT
    device: str = "cpu"
    cpus: list[int] | None = None
    transfers_ms: Mapping[str, LatencySummary] | None = None
    latency_vs_reference: LatencyRatio | None = None
    cost_ms: CostSummary | None = None
    energy: EnergyRecord | None = None
    clock_mhz: ClockRecord | None = None
    warnings: tuple[MeasurementWarning, ...] = field(default=())

    @property
    def valid(self) -> bool:
        return not any(warning.code in INVALIDATING for warning in self.warnings)

    def has(self, code: str) -> bool:
        """Tell whether there is a warning of that code."""
        return any(warning.code == code for warning in self.warnings)

    def to_json(self) -> dict[str, Any]:
        document = known_to_json(replace(self, raw_ns=[]))
        return {**document, "raw_ns": self.raw_ns, "valid": self.valid}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "LatencyRecord":
        known = {"load_ms": None, "first_ms": None} | {key: each for key, each in document.items() if key != "valid"}
        ratio, energy, transfers = (document.get(key) for key in ("latency_vs_reference", "energy", "transfers_ms"))
        cost, clock = document.get("cost_ms"), document.get("clock_mhz")
        return cls(
            **{
                **known,
                "latency_ms": LatencySummary.from_json(document["latency_ms"]),
                "transfers_ms": transfers and {way: LatencySummary.from_json(one) for way, one in transfers.items()},
                "latency_vs_reference": ratio and LatencyRatio.from_json(ratio),
                "cost_ms": cost and CostSummary.from_json(cost),
                "energy": energy and EnergyRecord.from_json(energy),
                "clock_mhz": clock and ClockRecord(**clock),
                "warnings": tuple(MeasurementWarning(**each) for each in document["warnings"]),
            }
        )


@dataclass(frozen=True)
class MemoryRecord:
    """Resident bytes of a process that runs one model and nothing else; the baseline is before it loads."""

    peak_rss_bytes: int
    baseline_rss_bytes: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)
