"""A table of rows in the terminal, for reports and bundles."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from edgekd.formatting import WHERE, Column, Row, columns
from edgekd.plain_text import line
from edgekd.tasks.metric import Metric, result_columns

NARROW = 100
LEFT_OUT_WHEN_NARROW = {"Params", "MACs"}


@dataclass(frozen=True)
class RowTable:
    """A table of a report's ``rows``, with fewer columns where it has little room."""

    rows: Sequence[Row]
    metrics: Sequence[Metric]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows, is_narrow = self.rows, options.max_width < NARROW
        left_out = LEFT_OUT_WHEN_NARROW if is_narrow else ()
        shown = [column for column in columns(rows, result_columns(self.metrics)) if column.heading not in left_out]
        if is_narrow and any(column.heading == "Device" for column in shown):
            shown = [WHERE if column.heading == "Runtime" else column for column in shown if column.heading != "Device"]
        if rows:
            yield results(shown, rows, ("Times faster", *(metric.heading for metric in self.metrics)))


def results(shown: Sequence[Column], rows: Sequence[Row], with_intervals: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in shown:
        is_of_words = column.heading in ("Runtime", WHERE.heading)
        longest = max(len(word) for row in rows for word in column.cell(row).split()) if is_of_words else 11
        folds = is_of_words or column.heading in with_intervals
        table.add_column(
            column.heading,
            justify="right" if column.number else "left",
            no_wrap=not folds,
            min_width=longest if folds else None,
        )
    for row in rows:
        table.add_row(*(Text(line(column.cell(row))) for column in shown))
    return table
