"""The verdict in the terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from edgekd.gate.verdict import ORDER, Finding, Verdict
from edgekd.plain_text import line

if TYPE_CHECKING:
    from edgekd.gate.verdict import Level

STYLES: "dict[Level, str]" = {"fail": "bold red", "warn": "yellow", "better": "green", "ok": "", "information": "dim"}


def render_table(verdict: Verdict, command: str = "") -> Group:
    """Return a table for each place, what to do, the ``command`` that keeps the run, and the verdict as the last line.

    ``command`` stands there where the run is worse or better than the baseline.
    """
    places: dict[str, list[Finding]] = {}
    for finding in verdict.findings:
        places.setdefault(finding.where, []).append(finding)
    tables = [part for where, found in places.items() for part in (Text(line(where), style="italic"), _table(found))]
    why = verdict.why_promote()
    # A command that is broken cannot be copied.
    way = [Text(line(f"{why}: {command}"), no_wrap=True, overflow="ignore")] if why and command else []
    style = STYLES["better" if verdict.passed else "fail"]
    return Group(*tables, *_advice(verdict), *way, Text(line(verdict.headline()), style=f"bold {style}"))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "Metric"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Baseline", "Now"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("What", overflow="fold")
    for each in findings:
        cells = (each.level, each.metric, each.baseline, each.current, each.cell)
        table.add_row(*(Text(line(cell)) for cell in cells), style=STYLES[each.level])
    return table


def _advice(verdict: Verdict) -> Iterator[Text]:
    """A line for all metrics of a place with the same advice."""
    for level in ORDER[:2]:
        alike: dict[tuple[str, str], list[str]] = {}
        for each in verdict.at(level):
            alike.setdefault((each.where, each.advice), []).append(each.metric)
        for (where, advice), metrics in alike.items():
            yield Text(line(f"{level}: {', '.join(metrics)} ({where}): {advice}"), style=STYLES[level])
