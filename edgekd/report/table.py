"""The report in the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from edgekd.plain_text import line, wrapped
from edgekd.report.advice import next_steps
from edgekd.report.row_table import RowTable
from edgekd.report.schema import Report
from edgekd.report.verdict import figures, headline, lines, sentences, warning_lines


@dataclass(frozen=True)
class Paragraph:
    """A line of text that goes on indented where the terminal breaks it; a command in quotes is not broken."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(wrapped(line(self.text), options.max_width), self.style, no_wrap=True, overflow="ignore")


def render_table(report: Report, files: Mapping[str, Path] | None = None) -> Group:
    """Return the rows, the warnings, the paths of ``files`` and the verdict, for ``rich.print``."""
    warnings = [Paragraph(f"warning: {each}", "yellow") for each in warning_lines(report)]
    below = [Paragraph(each) for each in sentences(report)]
    title = Text(line(report.name), style="bold italic")
    rows = RowTable([row.to_json() for row in report.rows], report.metrics)
    return Group(title, rows, *below, *warnings, render_verdict(report, files))


def render_verdict(report: Report, files: Mapping[str, Path] | None = None) -> Group:
    """Return the paths of ``files``, a line for each check, advice, and the verdict on the whole as the last line."""
    # A path that is broken cannot be copied.
    paths = [Text(line(f"{name:<8}{path}"), no_wrap=True, overflow="ignore") for name, path in (files or {}).items()]
    *checks, whole = verdict(report)
    return Group(*paths, *checks, *advice(report), whole)


def advice(report: Report) -> list[Text | Paragraph]:
    """Return how to meet a budget that is missed, with the command that tries the first way; else nothing."""
    steps = next_steps(report)
    if steps is None:
        return []
    numbered = [Paragraph(f"  {number}. {each}") for number, each in enumerate(steps.advice, start=1)]
    if steps.command is None:
        return [Text("To meet the budget:"), *numbered]
    # A command that is broken cannot be copied.
    command = Text(line(f"  {steps.command}"), style="bold", no_wrap=True, overflow="ignore")
    return [Text("To meet the budget:"), *numbered, Text("This tries the first:"), command]


def verdict(report: Report) -> list[Text]:
    met = report.budget is not None and report.budget.met
    found = []
    for check in lines(report):
        text = Text(line(f"  {check.name}: {check.said}: "))
        text.append(check.verdict, style="green" if check.met else "red")
        found.append(text.append(line(check.remarks)))
    gained = figures(report)
    return [
        *([Text(line(gained))] if gained else []),
        *found,
        Text(line(headline(report)), style="bold green" if met else "bold"),
    ]
