"""Timing that can be trusted and explained. Never imports torch; names are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.bench.caution import Caution
    from edgekd.bench.clock import sample
    from edgekd.bench.compare import interleave, ratio_to, summarise
    from edgekd.bench.environment import fingerprint, warnings_now
    from edgekd.bench.isolate import compare_in_child, memory_in_child
    from edgekd.bench.latency import compare_models
    from edgekd.bench.records import LatencyRecord, MemoryRecord
    from edgekd.bench.session import OnnxSession
    from edgekd.bench.statistics import percentile, percentile_interval, ratio_of_medians, wilson_interval

HOME = {
    "caution": ("Caution",),
    "clock": ("sample",),
    "compare": ("interleave", "ratio_to", "summarise"),
    "environment": ("fingerprint", "warnings_now"),
    "isolate": ("compare_in_child", "memory_in_child"),
    "latency": ("compare_models",),
    "records": ("LatencyRecord", "MemoryRecord"),
    "session": ("OnnxSession",),
    "statistics": ("percentile", "percentile_interval", "ratio_of_medians", "wilson_interval"),
}
__all__ = [
    "Caution",
    "LatencyRecord",
    "MemoryRecord",
    "OnnxSession",
    "compare_in_child",
    "compare_models",
    "fingerprint",
    "interleave",
    "memory_in_child",
    "percentile",
    "percentile_interval",
    "ratio_of_medians",
    "ratio_to",
    "sample",
    "summarise",
    "warnings_now",
    "wilson_interval",
]


def __getattr__(name: str) -> Any:
    for module, names in HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
