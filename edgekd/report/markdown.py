"""The report for a README or a pull request."""

from collections.abc import Mapping
from typing import Any

from edgekd.formatting import columns, escape_markdown, markdown_table
from edgekd.report.classes import change, classes_sentence, shown_classes
from edgekd.report.schema import ByClass, Report
from edgekd.report.verdict import headline, lines, warning_lines

MOST = 3


def render_markdown(report: Mapping[str, Any]) -> str:
    """Return GitHub-flavoured Markdown: the verdict, the checks, the rows, the classes, the warnings."""
    checked = Report.from_json(report)
    rows = [row.to_json() for row in checked.rows]
    parts = [
        f"### {escape_markdown(checked.name)}",
        f"**{headline(checked)}**",
        checks(checked),
        markdown_table(columns(rows), rows) if rows else "",
        classes(checked.by_class) if checked.by_class else "",
        "\n".join(f"- {escape_markdown(warning)}" for warning in warning_lines(checked)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def classes(by_class: ByClass) -> str:
    """Say in short which classes lost most and which confusions grew most."""
    lost = [each for each in shown_classes(by_class) if change(each) < 0][:MOST]
    named = [f"{each.name}, {each.right_before} → {each.right_after} correct of {each.n}" for each in lost]
    grown = [f"{each.label} as {each.answered}, {each.before} → {each.after}" for each in by_class.confusions[:MOST]]
    found = [classes_sentence(by_class)]
    found += [f"Most lost: {'; '.join(named)}."] if named else []
    found += [f"Confusions that grew: {'; '.join(grown)}."] if grown else []
    return escape_markdown(" ".join(found))


def checks(report: Report) -> str:
    found = []
    for line in lines(report):
        verdict = f"{line.verdict}; {line.uncertainty}" if line.uncertainty else line.verdict
        cells = (line.name, verdict, line.value, line.bound, line.margin)
        found.append(f"| {' | '.join(map(escape_markdown, cells))} |")
    if not found:
        return ""
    return "\n".join(["| Check | Verdict | Measured | Bound | Margin |", "|---|---|---:|---:|---|", *found])
