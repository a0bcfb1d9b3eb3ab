"""Two rows of reports compared in pairs, on what they keep of each test sample."""

from pathlib import Path
from typing import NamedTuple

from edgekd.files import lies_there
from edgekd.report.schema import Row
from edgekd.tasks.compare import MetricDifference, compare
from edgekd.tasks.metric import Evidence, Metric

# Two bounds of this confidence make an interval of 95 %.
ONE_SIDED = 0.975


class Placed(NamedTuple):
    """A row, and the folder of its report if that is known: evidence in files is only read from there."""

    row: Row
    folder: Path | None = None

    def evidence(self, metric: Metric) -> Evidence | None:
        """Return what the row keeps of each sample, or None where its report was moved without the file.

        Raises:
            DataError: the file is not the one that was written with the report.
        """
        file, folder = self.row.evidence, self.folder
        is_there = folder is not None and file is not None and lies_there(folder / file.file)
        return self.row.kept_evidence([metric], folder if is_there else None).get(metric.name)


def difference(metric: Metric, before: Placed, after: Placed, confidence: float = 0.95) -> MetricDifference | None:
    """Compare two networks, or return None where what is kept of them is not of the same samples."""
    first, second = before.evidence(metric), after.evidence(metric)
    if first is None or second is None or first.n != second.n:
        return None
    return compare(metric, first, second, confidence)


def shown_difference(metric: Metric, found: MetricDifference) -> str:
    """Format how the metric's value changed, with the interval that the difference's two bounds make."""
    if metric.better == "higher":
        return metric.shown_change(-found.drop, (-found.upper, -found.lower))
    return metric.shown_change(found.drop, (found.lower, found.upper))
