"""The comparison of several runs, as one page and as Markdown."""

from collections.abc import Sequence

from edgekd.formatting import escape_markdown, markdown_table
from edgekd.report.comparison import (
    PairedRuns,
    Reports,
    differences,
    marks,
    metric_of,
    pair_columns,
    run_columns,
    run_rows,
    summary,
)
from edgekd.report.html import page
from edgekd.report.plots import row_pictures


def render_comparison(reports: Reports, compared: Sequence[PairedRuns]) -> str:
    """Return the page of two or more ``reports`` by their names; ``compared`` are their :func:`pairs`."""
    metric = metric_of(reports)
    return page(
        "comparison.html.jinja",
        names=list(reports),
        summary=summary(reports),
        differences=differences(reports),
        rows=run_rows(reports),
        columns=run_columns(reports),
        pictures=row_pictures(marks(reports), metric),
        metric=metric,
        pairs=compared,
        pair_columns=pair_columns(metric),
        commands=[(name, report.command) for name, report in reports.items() if report.command],
    )


def render_comparison_markdown(reports: Reports, compared: Sequence[PairedRuns]) -> str:
    """Return the same tables for a pull request."""
    parts = [
        f"### {escape_markdown(' compared with '.join(reports))}",
        f"**{escape_markdown(summary(reports))}**",
        markdown_table(run_columns(reports), run_rows(reports)),
        markdown_table(pair_columns(metric_of(reports)), compared) if compared else "",
        "\n".join(f"- the runs differ in {escape_markdown(line)}" for line in differences(reports)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
