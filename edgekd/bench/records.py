"""Results of a measurement, and their JSON. A metric that was not measured is absent."""

from dataclasses import asdict, dataclass, field
from typing import Any

# With one of these a measured time is not what it claims to be; with any other the machine was merely not at rest.
INVALIDATING = {"too_few_samples", "too_few_cpus", "throttled", "emulated", "other_power_mode"}


@dataclass(frozen=True)
class MeasurementWarning:
    """A reason to doubt a measurement: a code for machines, a sentence for people."""

    code: str
    message: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class LatencyRecord:
    """One model's times in milliseconds, and every sample: ``raw_ns`` by launch, by round.

    Steady state is in ``latency_ms``; ``load_ms`` and ``first_ms`` (the first inference) are medians over launches.
    On a GPU the inputs and outputs lie there, and the copies are ``transfers_ms``, ``in`` and ``out``.
    ``latency_vs_reference`` is its time over the reference's. ``energy`` is that of one inference in ``joules``, what
    the board takes at rest included, with the mean ``watts`` and the ``rails`` that they are of.
    """

    latency_ms: dict[str, Any]
    load_ms: float | None
    first_ms: float | None
    threads: int
    batch: int
    providers: list[str]
    raw_ns: list[list[list[int]]]
    runtime: str = "onnxruntime"
    device: str = "cpu"
    cpus: list[int] | None = None
    transfers_ms: dict[str, Any] | None = None
    latency_vs_reference: dict[str, Any] | None = None
    energy: dict[str, Any] | None = None
    warnings: tuple[MeasurementWarning, ...] = field(default=())

    @property
    def valid(self) -> bool:
        return not any(warning.code in INVALIDATING for warning in self.warnings)

    def to_json(self) -> dict[str, Any]:
        document = {key: value for key, value in asdict(self).items() if value is not None}
        return {**document, "warnings": [warning.to_json() for warning in self.warnings], "valid": self.valid}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "LatencyRecord":
        known = {"load_ms": None, "first_ms": None} | {key: each for key, each in document.items() if key != "valid"}
        return cls(**{**known, "warnings": tuple(MeasurementWarning(**each) for each in document["warnings"])})


@dataclass(frozen=True)
class MemoryRecord:
    """Resident bytes of a process that runs one model and nothing else; the baseline is before it loads."""

    peak_rss_bytes: int
    baseline_rss_bytes: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)
