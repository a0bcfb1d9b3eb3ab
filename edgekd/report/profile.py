"""A layer profile as it is drawn and tabulated: read once from the JSON of a report or of ``edgekd profile --json``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgekd.strict_json import build_record


@dataclass(frozen=True)
class ProfiledLayer:
    """A layer's time and work, and the least time that the machine allows: ``limit_ms``, set by ``bound``."""

    name: str
    op: str
    ms: float
    of_total: float
    macs: int
    bytes: int
    precision: str
    limit_ms: float
    winnable_ms: float
    bound: str
    share: float = 0.0


@dataclass(frozen=True)
class ProfileSummary:
    """Times of the whole network in milliseconds; ``share`` is that of the limit."""

    layers_ms: float
    limit_ms: float
    share: float
    unprofiled_ms: float | None = None
    total_ms: float | None = None
    busy: float = 0.0
    ms_by_kind: Mapping[str, float] = field(default_factory=dict)
    ms_by_bound: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasuredRoofs:
    """The machine's limits: GMAC/s by precision, and GB/s by the size in bytes of what is moved."""

    peak: Mapping[str, float]
    bandwidth: Sequence[Sequence[float]]
    busy: float = 0.0


@dataclass(frozen=True)
class LayersUnderRoofs:
    """The profile of one model on one machine."""

    threads: int
    roofs: MeasuredRoofs
    summary: ProfileSummary
    layers: tuple[ProfiledLayer, ...]
    model: str = ""
    runtime: str = ""
    batch: int = 1
    sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "LayersUnderRoofs":
        """Read the document of ``edgekd profile --json``, or a report's profile."""
        return build_record(
            cls,
            document,
            roofs=build_record(MeasuredRoofs, document["roofs"]),
            summary=build_record(ProfileSummary, document["summary"]),
            layers=tuple(build_record(ProfiledLayer, each) for each in document["layers"]),
        )

    def worst(self, most: int) -> list[ProfiledLayer]:
        """Return the layers with the most time to win, most first."""
        return sorted(self.layers, key=lambda layer: layer.winnable_ms, reverse=True)[:most]
