"""The changes of each network from the one before it."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from edgekd.formatting import ABSENT, in_times
from edgekd.report.deployed import is_teacher, network_rows
from edgekd.report.paired import ONE_SIDED, Placed, difference, shown_difference
from edgekd.report.schema import Report, Row
from edgekd.tasks.metric import Metric


class Step(NamedTuple):
    """The changes from the network ``before`` to ``model``, as text; ``metric`` is the task's first."""

    model: str
    before: str
    metric: str
    params: str
    macs: str
    size: str
    latency: str


def steps(report: Report, folder: Path | None = None) -> list[Step]:
    """Return the changes of each network after the first.

    ``folder`` is the report's, for evidence in files: without it, a metric that needs it has no interval.
    """
    metric = report.metrics[0]
    return [
        Step(
            after.model,
            before.model,
            metric_change(metric, before, after, folder),
            times(before.params, after.params, "fewer", "more"),
            times(before.macs, after.macs, "fewer", "more"),
            times(before.size_bytes, after.size_bytes, "smaller", "larger"),
            times(relative_time(before, report), relative_time(after, report), "faster", "slower"),
        )
        for before, after in pairwise(network_rows(report))
    ]


def metric_change(metric: Metric, before: Row, after: Row, folder: Path | None) -> str:
    """Format the change, with a 95 % interval if both rows kept what they predicted for the same samples."""
    values = [row.figure(metric) for row in (before, after)]
    if values[0] is None or values[1] is None:
        return ABSENT
    found = difference(metric, Placed(before, folder), Placed(after, folder), ONE_SIDED)
    return metric.shown_change(values[1] - values[0]) if found is None else shown_difference(metric, found)


def relative_time(row: Row, report: Report) -> float | None:
    """Return the time relative to the teacher's, with which each network was timed in turns."""
    if row.latency_vs_teacher:
        return row.latency_vs_teacher.ratio
    return 1.0 if row.latency_ms and is_teacher(row, report) else None


def times(before: float | None, after: float | None, better: str, worse: str) -> str:
    if not before or after is None:
        return ABSENT
    return "the same" if before == after else in_times(after / before, better, worse)
