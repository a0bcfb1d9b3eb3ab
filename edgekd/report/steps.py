"""The changes of each network from the one before it."""

from itertools import pairwise
from typing import NamedTuple

from edgekd.errors import EdgekdError
from edgekd.formatting import ABSENT, significant
from edgekd.report.classes import points
from edgekd.report.deployed import is_teacher, network_rows
from edgekd.report.schema import Report, Row
from edgekd.stats.correct import decode_correct
from edgekd.stats.paired import drop

# Two bounds of this confidence make an interval of 95 %.
ONE_SIDED = 0.975


class Step(NamedTuple):
    """The changes from the network ``before`` to ``model``, as text."""

    model: str
    before: str
    accuracy: str
    params: str
    macs: str
    size: str
    latency: str


def steps(report: Report) -> list[Step]:
    """Return the changes of each network after the first."""
    return [
        Step(
            after.model,
            before.model,
            accuracy_change(before, after),
            times(before.params, after.params),
            times(before.macs, after.macs),
            times(before.size_bytes, after.size_bytes),
            times(relative_time(before, report), relative_time(after, report)),
        )
        for before, after in pairwise(network_rows(report))
    ]


def accuracy_change(before: Row, after: Row) -> str:
    """Format the change in points, with a 95 % interval if both rows kept their predictions on the same samples."""
    if before.accuracy is None or after.accuracy is None:
        return ABSENT
    correct = [decode_correct(row.right, row.n) for row in (before, after)]
    try:
        lost = drop(correct[0] or (), correct[1] or (), ONE_SIDED)
    except EdgekdError:  # not of the same samples, or not kept
        return points(100 * (after.accuracy - before.accuracy))
    return points(-100 * lost.value, (-100 * lost.at_most, -100 * lost.at_least))


def relative_time(row: Row, report: Report) -> float | None:
    """Return the time relative to the teacher's, with which each network was timed in turns."""
    if row.latency_vs_teacher:
        return row.latency_vs_teacher.ratio
    return 1.0 if row.latency_ms and is_teacher(row, report) else None


def times(before: float | None, after: float | None) -> str:
    return ABSENT if not before or after is None else f"× {significant(after / before)}"
