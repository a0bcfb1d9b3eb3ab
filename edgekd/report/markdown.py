"""The report for a README or a pull request."""

from edgekd.formatting import columns, escape_markdown, markdown_table
from edgekd.plain_text import code
from edgekd.report.advice import next_steps
from edgekd.report.schema import Report
from edgekd.report.verdict import figures, headline, lines, sentences, warning_lines
from edgekd.tasks.metric import result_columns


def render_markdown(report: Report) -> str:
    """Return GitHub-flavoured Markdown: verdict, checks, advice, rows, classes or labels, and warnings."""
    rows, breakdown = [row.to_json() for row in report.rows], report.breakdown()
    parts = [
        f"### {escape_markdown(report.name)}",
        " · ".join(each for each in (f"**{headline(report)}**", figures(report)) if each),
        checks(report),
        advice(report),
        markdown_table(columns(rows, result_columns(report.metrics)), rows) if rows else "",
        *sentences(report),
        escape_markdown(breakdown.panel().short) if breakdown else "",
        "\n".join(f"- {escape_markdown(str(warning))}" for warning in warning_lines(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def advice(report: Report) -> str:
    """Return how to meet a budget that is missed, with the command that tries the first way; else nothing."""
    steps = next_steps(report)
    if steps is None:
        return ""
    numbered = (f"{number}. {escape_markdown(str(each))}" for number, each in enumerate(steps.advice, start=1))
    command = ["", f"This tries the first: {code(steps.command)}"] if steps.command else []
    return "\n".join(["To meet the budget:", "", *numbered, *command])


def checks(report: Report) -> str:
    found = []
    for line in lines(report):
        verdict = f"{line.verdict}; {line.remark}" if line.remark else line.verdict
        cells = (line.name, verdict, line.value, line.bound, line.margin)
        found.append(f"| {' | '.join(map(escape_markdown, cells))} |")
    if not found:
        return ""
    return "\n".join(["| Check | Verdict | Measured | Bound | Margin |", "|---|---|---:|---:|---|", *found])
