"""A table of rows in the terminal, for reports and bundles."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from edgekd.formatting import WHERE, Column, Row, columns
from edgekd.plain_text import line
from edgekd.tasks.metric import Metric, result_columns

NARROW = 100
MOST_WIDTH = 1000
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
        if not rows:
            return
        headings = [metric.heading for metric in self.metrics]
        table = results(shown, rows, ("Times faster", *headings))
        unbounded, dropped = options.update(max_width=MOST_WIDTH), []
        # Ratios are of costs, and the first metric is the budget's.
        for heading in ("Cost ms", *reversed(headings[1:])):
            if Measurement.get(console, unbounded, table).minimum <= options.max_width:
                break
            dropped += [each.heading for each in shown if each.heading == heading]
            shown = [each for each in shown if each.heading != heading]
            table = results(shown, rows, ("Times faster", *headings))
        yield table
        if dropped:
            yield Text(f"A wider terminal also shows: {', '.join(dropped)}.")


def results(shown: Sequence[Column], rows: Sequence[Row], with_intervals: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in shown:
        cells = [column.cell(row) for row in rows]
        is_of_words = column.heading in ("Runtime", WHERE.heading)
        folds = is_of_words or column.heading in with_intervals
        if is_of_words:
            least = max(len(word) for cell in cells for word in cell.split())
        else:
            least = len("(12.3–45.6)") if folds else max(map(len, [column.heading, *cells]))
        justify: JustifyMethod = "right" if column.number else "left"
        table.add_column(column.heading, justify=justify, no_wrap=not folds, min_width=least)
    for row in rows:
        table.add_row(*(Text(line(column.cell(row))) for column in shown))
    return table
