"""The rows of a report at the place where the deployed network runs."""

from collections.abc import Sequence

from edgekd.records.rows import WHERE, judged_at
from edgekd.report.schema import Report, Row


def deployed(report: Report) -> Row | None:
    """Return the row that the budget is checked on, or None where a report has no rows.

    It is the row that the report names: reading a report checks that the order of its rows says the same.
    """
    return judged(report.rows) if report.rows else None


def judged(rows: Sequence[Row]) -> Row:
    """Return the row of the last network in the runtime of the last row, on its first device."""
    return rows[judged_at([row.model_dump(include={"model", *WHERE}) for row in rows])]


def same_place(row: Row, rows: Sequence[Row]) -> list[Row]:
    """Return each network's row at the place of ``row``, in their order."""
    where = (row.runtime, row.device, row.threads)
    return list({each.model: each for each in rows if (each.runtime, each.device, each.threads) == where}.values())


def network_rows(report: Report) -> list[Row]:
    """Return each network's row at the place where the deployed one runs, in their order."""
    row = deployed(report)
    return same_place(row, report.rows) if row else []


def is_teacher(row: Row, report: Report) -> bool:
    """Tell whether ``row`` is of the network that others are compared with."""
    return row.role == "teacher" if row.role else row.model == report.rows[0].model
