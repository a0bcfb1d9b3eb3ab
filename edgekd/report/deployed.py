"""Which rows of a report are about what is deployed: the chain's networks where the deployed one runs."""

from collections.abc import Sequence

from edgekd.errors import EdgekdError
from edgekd.report.schema import Report, Row


def deployed(report: Report) -> Row | None:
    """Return the row that the budget is checked on, or None where a report has no rows.

    Raises:
        EdgekdError: the report names a row that it has not.
    """
    named = report.deployed
    if named is None:  # version 1
        return first_of_last(report.rows) if report.rows else None
    found = (row for row in report.rows if (row.model, row.place) == (named.model, named.place))
    row = next(found, None)
    if row is None:
        raise EdgekdError(f"the report has no row of {named.model} on {named.place}: run the recipe again")
    return row


def first_of_last(rows: Sequence[Row]) -> Row:
    """Return the row of the last network in the runtime of the last row, on its first device."""
    last = rows[-1]
    first = next(row for row in rows if (row.runtime, row.model) == (last.runtime, last.model))
    return beside(first, rows)[-1]


def beside(row: Row, rows: Sequence[Row]) -> list[Row]:
    """Return each network once, in its order, where ``row`` was taken."""
    where = (row.runtime, row.device, row.threads)
    return list({each.model: each for each in rows if (each.runtime, each.device, each.threads) == where}.values())


def chain_rows(report: Report) -> list[Row]:
    """Return each network once, in its order, where the deployed one runs."""
    row = deployed(report)
    return beside(row, report.rows) if row else []


def is_teacher(row: Row, report: Report) -> bool:
    return row.role == "teacher" if row.role else row.model == report.rows[0].model
