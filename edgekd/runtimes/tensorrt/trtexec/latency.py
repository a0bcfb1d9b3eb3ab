"""Latency statistics of the raw queries that ``trtexec`` exports; its own summary changes from release to release."""

from collections.abc import Sequence

import numpy as np

from edgekd.bench.compare import summarise
from edgekd.bench.records import LatencySummary, MeasurementWarning
from edgekd.errors import MeasurementError
from edgekd.runtimes.tensorrt.trtexec.output import Query

ENQUEUE_SHARE = 0.8
UNSTABLE = 0.025


def latency_ms(queries: Sequence[Query], copies: bool = False) -> LatencySummary:
    """Return percentiles with intervals in milliseconds, as :func:`edgekd.bench.summarise` does.

    Of the kernels alone, or with ``copies`` of the transfers too.
    """
    if not queries:
        raise MeasurementError("trtexec exported no queries; look at what it printed, and give it more time")
    return summarise(np.array([query.latency if copies else query.compute for query in queries]) * 1e6)


def query_warnings(queries: Sequence[Query]) -> list[MeasurementWarning]:
    """Return trtexec's own warnings, with its bounds: enqueue-bound, transfer-bound, unstable clocks."""
    compute = np.array([query.compute for query in queries])
    enqueue, h2d, d2h = (np.median([getattr(query, name) for query in queries]) for name in ("enqueue", "h2d", "d2h"))
    found = []
    if enqueue > ENQUEUE_SHARE * np.median(compute):
        message = "handing over the work takes as long as doing it: the CPU is measured too; use a CUDA graph"
        found.append(MeasurementWarning("enqueue_bound", message))
    if max(h2d, d2h) >= np.median(compute):
        found.append(MeasurementWarning("transfer_bound", "copying takes as long as computing"))
    if (spread := float(compute.std() / compute.mean())) > UNSTABLE:
        message = f"the times' standard deviation is {spread:.1%} of their mean: lock the clocks"
        found.append(MeasurementWarning("cov_high", message))
    return found
