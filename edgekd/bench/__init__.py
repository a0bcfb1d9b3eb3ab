"""Timing that can be trusted and explained. Imports torch only to time it; names are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.bench.caution import Caution
    from edgekd.bench.clock import sample
    from edgekd.bench.compare import interleave, ratio_to, summarise
    from edgekd.bench.conduct import measure
    from edgekd.bench.environment import fingerprint, warnings_now
    from edgekd.bench.plan import Plan, Subject
    from edgekd.bench.records import LatencyRecord, MemoryRecord
    from edgekd.bench.runtimes import open_session
    from edgekd.bench.worker import memory

HOME = {
    "caution": ("Caution",),
    "clock": ("sample",),
    "compare": ("interleave", "ratio_to", "summarise"),
    "conduct": ("measure",),
    "environment": ("fingerprint", "warnings_now"),
    "plan": ("Plan", "Subject"),
    "records": ("LatencyRecord", "MemoryRecord"),
    "runtimes": ("open_session",),
    "worker": ("memory",),
}
__all__ = [
    "Caution",
    "LatencyRecord",
    "MemoryRecord",
    "Plan",
    "Subject",
    "fingerprint",
    "interleave",
    "measure",
    "memory",
    "open_session",
    "ratio_to",
    "sample",
    "summarise",
    "warnings_now",
]


def __getattr__(name: str) -> Any:
    for module, names in HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
