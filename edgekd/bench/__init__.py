"""Latency and memory of models, and how surely they are known.

PyTorch is imported only to time it.
"""

from typing import TYPE_CHECKING

from edgekd.lazy import exporter

if TYPE_CHECKING:
    from edgekd.bench.compare import interleave, ratio_to, sample, summarise
    from edgekd.bench.environment import fingerprint, warnings_now
    from edgekd.bench.peak_memory import memory
    from edgekd.bench.plan import Plan, Workload
    from edgekd.bench.records import (
        CostSummary,
        EnergyRecord,
        LatencyRatio,
        LatencyRecord,
        LatencySummary,
        MeasurementWarning,
        MemoryRecord,
    )
    from edgekd.bench.runner import measure
    from edgekd.bench.runtimes import open_session

__all__ = [
    "CostSummary",
    "EnergyRecord",
    "LatencyRatio",
    "LatencyRecord",
    "LatencySummary",
    "MeasurementWarning",
    "MemoryRecord",
    "Plan",
    "Workload",
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

__getattr__ = exporter(
    __name__,
    {
        "compare": ("interleave", "ratio_to", "sample", "summarise"),
        "environment": ("fingerprint", "warnings_now"),
        "plan": ("Plan", "Workload"),
        "records": (
            "CostSummary",
            "EnergyRecord",
            "LatencyRatio",
            "LatencyRecord",
            "LatencySummary",
            "MeasurementWarning",
            "MemoryRecord",
        ),
        "runner": ("measure",),
        "runtimes": ("open_session",),
        "peak_memory": ("memory",),
    },
)
