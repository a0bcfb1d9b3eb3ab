"""What a measurement hands back, and its JSON. A figure that was not measured is absent."""

from dataclasses import asdict, dataclass, field
from typing import Any

from edgekd.bench.caution import Caution

# With these the figure is not what it says it is; with any other it is, on a machine that was not at rest.
INVALIDATING = {"too_few_samples", "too_few_cpus", "throttled", "emulated", "other_power_mode"}


@dataclass(frozen=True)
class LatencyRecord:
    """One model's times in milliseconds, and every sample: ``raw_ns`` by sitting, by round.

    Steady state is in ``latency_ms``; ``load_ms`` and ``first_ms`` (the first inference) are medians over sittings.
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
    warnings: tuple[Caution, ...] = field(default=())

    @property
    def valid(self) -> bool:
        return not any(caution.code in INVALIDATING for caution in self.warnings)

    def to_json(self) -> dict[str, Any]:
        figures = {key: value for key, value in asdict(self).items() if value is not None}
        return {**figures, "warnings": [caution.to_json() for caution in self.warnings], "valid": self.valid}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "LatencyRecord":
        figures = {"load_ms": None, "first_ms": None} | {k: v for k, v in document.items() if k != "valid"}
        return cls(**{**figures, "warnings": tuple(Caution(**caution) for caution in document["warnings"])})


@dataclass(frozen=True)
class MemoryRecord:
    """Resident bytes of a process that runs one model and nothing else; the baseline is before it loads."""

    peak_rss_bytes: int
    baseline_rss_bytes: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)
