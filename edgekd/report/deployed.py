"""Which rows of a report are about what is deployed: the chain's networks where the last of them runs."""

from collections.abc import Sequence

from edgekd.report.schema import Report, Row


def chain_rows(rows: Sequence[Row]) -> list[Row]:
    """Of a report's: each network once, in its order, in the runtime of the last row and on its first device."""
    if not rows:
        return []
    last = rows[-1]
    there = [row for row in rows if row.runtime == last.runtime]
    first = next(row for row in there if row.model == last.model)
    here = [row for row in there if (row.device, row.threads) == (first.device, first.threads)]
    return list({row.model: row for row in here}.values())


def deployed(report: Report) -> Row | None:
    """What the budget is checked on; None where a report has no rows."""
    rows = chain_rows(report.rows)
    return rows[-1] if rows else None
