"""The report in the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from edgekd.formatting import WHERE, Column, Row, columns
from edgekd.plain_text import line
from edgekd.report.advice import next_steps
from edgekd.report.schema import Report
from edgekd.report.verdict import figures, headline, lines, sentences, warning_lines
from edgekd.tasks.metric import result_columns

NARROW = 100
LEFT_OUT_WHEN_NARROW = {"Params", "MACs"}


def render_table(report: Report, files: Mapping[str, Path] | None = None) -> Group:
    """Return the rows, the warnings, the paths of ``files`` and the verdict, for ``rich.print``."""
    warnings = [Text(line(f"warning: {each}"), style="yellow") for each in warning_lines(report)]
    below = [Text(line(each)) for each in sentences(report)]
    return Group(Results(report), *below, *warnings, render_verdict(report, files))


def render_verdict(report: Report, files: Mapping[str, Path] | None = None) -> Group:
    """Return the paths of ``files``, a line for each check, advice, and the verdict on the whole as the last line."""
    # A path that is broken cannot be copied.
    paths = [Text(line(f"{name:<8}{path}"), no_wrap=True, overflow="ignore") for name, path in (files or {}).items()]
    *checks, whole = verdict(report)
    return Group(*paths, *checks, *advice(report), whole)


@dataclass(frozen=True)
class Results:
    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [row.to_json() for row in self.report.rows]
        left_out = LEFT_OUT_WHEN_NARROW if options.max_width < NARROW else ()
        metrics = self.report.metrics
        shown = [column for column in columns(rows, result_columns(metrics)) if column.heading not in left_out]
        is_merged = options.max_width < NARROW and any(column.heading == "Device" for column in shown)
        if is_merged:
            shown = [WHERE if column.heading == "Runtime" else column for column in shown if column.heading != "Device"]
        yield Text(line(self.report.name), style="bold italic")
        if rows:
            yield results(shown, rows, ("Times faster", *(metric.heading for metric in metrics)))


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


def advice(report: Report) -> list[Text]:
    """Return how to meet a budget that is missed, with the command that tries the first way; else nothing."""
    steps = next_steps(report)
    if steps is None:
        return []
    numbered = [Text(line(f"  {number}. {each}")) for number, each in enumerate(steps.advice, start=1)]
    # A command that is broken cannot be copied.
    command = Text(line(f"  {steps.command}"), style="bold", no_wrap=True, overflow="ignore")
    return [Text("To meet the budget:"), *numbered, Text("This tries the first:"), command]


def verdict(report: Report) -> list[Text]:
    met = report.budget is not None and report.budget.met
    found = []
    for check in lines(report):
        text = Text(line(f"  {check.name}: {check.value}, {check.bound}: "))
        text.append(check.verdict, style="green" if check.met else "red")
        remarks = [each for each in (check.margin, check.remark) if each and each != check.value]
        found.append(text.append(line(f" ({'; '.join(remarks)})") if remarks else ""))
    gained = figures(report)
    return [
        *([Text(line(gained))] if gained else []),
        *found,
        Text(line(headline(report)), style="bold green" if met else "bold"),
    ]
