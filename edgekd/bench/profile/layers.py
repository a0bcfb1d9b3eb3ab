"""Layer times from a runtime's profiler, in one form for all runtimes."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerTime:
    """One step of the runtime's graph: ``ms`` is its median over the runs, ``macs`` and ``bytes`` are its work.

    ``name`` is the network's own name of the layer; a step that the runtime put in has its own.
    ``bytes`` counts every input, weight and output once, ``precision`` is that of the arithmetic.
    ``weight_bytes`` is the part of them that no other layer touches.
    """

    name: str
    op: str
    ms: float
    macs: int
    bytes: int
    precision: str
    weight_bytes: int = 0


@dataclass(frozen=True)
class LayerProfile:
    """All steps of one inference in the order they run; ``total_ms`` is the median of the whole profiled run.

    ``unprofiled_ms`` is the same without the profiler, which takes its part of every step; ``busy`` is
    the share of the machine that others took meanwhile.
    """

    layers: tuple[LayerTime, ...]
    total_ms: float
    runs: int
    unprofiled_ms: float | None = None
    busy: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "LayerProfile":
        return cls(**{**document, "layers": tuple(LayerTime(**layer) for layer in document["layers"])})
