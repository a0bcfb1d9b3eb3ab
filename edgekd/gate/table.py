"""The verdict in the terminal."""

from typing import TYPE_CHECKING

from rich.table import Table

from edgekd.gate.verdict import Verdict
from edgekd.plain_text import rich as escape

if TYPE_CHECKING:
    from edgekd.gate.verdict import Level

STYLES: "dict[Level, str]" = {"fail": "bold red", "warn": "yellow", "better": "green", "ok": "", "information": "dim"}


def render_table(verdict: Verdict, with_reasons: bool = True) -> Table:
    """Return the verdict as a table of rich, ``with_reasons`` in its last column."""
    table = Table(title=escape(verdict.headline()))
    for heading in ("", "Where", "Metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("Baseline", "Now"):
        table.add_column(heading, justify="right")
    if with_reasons:
        table.add_column("What", overflow="fold")
    for finding in verdict.findings:
        what = f"{finding.what}; {finding.advice}" if finding.advice else finding.what
        cells = (
            finding.level,
            finding.where,
            finding.metric,
            finding.baseline,
            finding.current,
            *([what] * with_reasons),
        )
        table.add_row(*map(escape, cells), style=STYLES[finding.level])
    return table
