"""The comparison of several runs, as one page and as Markdown."""

from edgekd.formatting import escape_markdown, markdown_table
from edgekd.report.comparison import PAIRS, RUNS, Reports, differences, marks, pairs, run_rows, summary
from edgekd.report.html import page
from edgekd.report.plots import row_pictures


def render_comparison(reports: Reports) -> str:
    """Return the page of two or more ``reports`` by their names; the first is what the others are compared with."""
    return page(
        "comparison.html.jinja",
        names=list(reports),
        summary=summary(reports),
        differences=differences(reports),
        rows=run_rows(reports),
        columns=RUNS,
        pictures=row_pictures(marks(reports)),
        pairs=pairs(reports),
        pair_columns=PAIRS,
        commands=[(name, report.command) for name, report in reports.items() if report.command],
    )


def render_comparison_markdown(reports: Reports) -> str:
    """Return the same tables for a pull request."""
    compared = pairs(reports)
    parts = [
        f"### {escape_markdown(' compared with '.join(reports))}",
        f"**{escape_markdown(summary(reports))}**",
        markdown_table(RUNS, run_rows(reports)),
        markdown_table(PAIRS, compared) if compared else "",
        "\n".join(f"- the runs differ in {escape_markdown(line)}" for line in differences(reports)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
