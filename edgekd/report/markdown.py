"""The report for a README or a pull request."""

from collections.abc import Mapping
from typing import Any

from edgekd.figures import columns, escape_markdown, markdown_table
from edgekd.report.schema import Report
from edgekd.report.verdict import headline, lines, notes


def render_markdown(report: Mapping[str, Any]) -> str:
    """GitHub-flavoured Markdown: the verdict, the checks, the rows, the warnings."""
    checked = Report.from_json(report)
    rows = [row.to_json() for row in checked.rows]
    parts = [
        f"### {escape_markdown(checked.name)}",
        f"**{headline(checked)}**",
        checks(checked),
        markdown_table(columns(rows), rows) if rows else "",
        "\n".join(f"- {escape_markdown(note)}" for note in notes(checked)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def checks(report: Report) -> str:
    found = [
        f"| {escape_markdown(line.name)} | {line.verdict} | {line.value} | {line.bound} | {line.margin} |"
        for line in lines(report)
    ]
    if not found:
        return ""
    return "\n".join(["| Check | Verdict | Measured | Bound | Margin |", "|---|---|---:|---:|---|", *found])
