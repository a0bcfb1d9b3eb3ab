"""``edgekd report``: a run's page again, or the comparison of several runs."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli.output import tell

if TYPE_CHECKING:
    from edgekd.report.comparison import Reports
    from edgekd.report.schema import Report

PAGE, COMPARISON = "report.html", "comparison.html"


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, or their report.json; folders of searches.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The page; a run's own report.html, or comparison.html.", show_default=False),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown to this file.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Write the page of a run or a search again, with its verdict, or one page that compares several runs.

    The task's first metric is compared in pairs with the first run's if the test sets are the same.
    """
    from edgekd.files import write_text
    from edgekd.report.fit_record import is_fit
    from edgekd.report.load import load_report, named, readable

    if len(runs) == 1 and is_fit(runs[0]):
        report_fit(runs[0], out, markdown, as_json)
        return
    loaded = [load_report(path) for path in runs]
    reports = dict(zip(named(runs, loaded), loaded, strict=True))
    if len(reports) < len(runs):
        from edgekd.errors import EdgekdError

        raise EdgekdError(f"a run is given twice: {', '.join(map(str, runs))}; give each once")
    page = out or (page_of(runs[0]) if len(runs) == 1 else Path(COMPARISON))
    with readable(", ".join(reports)):
        html, text, document = rendered(reports, dict(zip(reports, map(folder_of, runs), strict=True)))
    write_text(page, html)
    if markdown:
        write_text(markdown, text)
    if as_json:
        sys.stdout.write(json.dumps(document, indent=1, sort_keys=True) + "\n")
    elif len(runs) == 1:
        show_verdict(loaded[0], page)
    else:
        tell(f"report  {page}")


def report_fit(folder: Path, out: Path | None, markdown: Path | None, as_json: bool) -> None:
    """Write the page of the search in ``folder``."""
    from edgekd.files import write_text
    from edgekd.report.fit_page import fit_headline, render_fit, render_fit_markdown
    from edgekd.report.fit_record import read_fit
    from edgekd.report.load import readable

    with readable(str(folder)):
        fit = read_fit(folder)
        html, text = render_fit(fit), render_fit_markdown(fit)
    page = out or folder / PAGE
    write_text(page, html)
    if markdown:
        write_text(markdown, text)
    if as_json:
        sys.stdout.write(json.dumps(fit.summary, indent=1, sort_keys=True) + "\n")
    else:
        tell(fit_headline(fit))
        tell(f"report  {page}")


def show_verdict(run: "Report", page: Path) -> None:
    from rich.console import Console

    from edgekd.report.table import render_verdict

    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(
        render_verdict(run, {"report": page}), crop=False
    )


def page_of(run: Path) -> Path:
    return folder_of(run) / PAGE


def folder_of(run: Path) -> Path:
    from edgekd.report.load import run_folder_of

    return run_folder_of(run) if run.is_dir() else run.parent


def rendered(reports: "Reports", folders: Mapping[str, Path]) -> tuple[str, str, object]:
    """Return the page, the Markdown and the document that ``--json`` prints."""
    if len(reports) == 1:
        from edgekd.report.html import render_html
        from edgekd.report.markdown import render_markdown

        (run,), (folder,) = reports.values(), folders.values()
        return render_html(run, folder), render_markdown(run), run.to_json()
    from edgekd.report.comparison import differences, pairs, run_rows
    from edgekd.report.comparison_page import render_comparison, render_comparison_markdown

    compared = pairs(reports, folders)
    as_json = [each.to_json() for each in compared]
    document = {"runs": run_rows(reports), "pairs": as_json, "differences": differences(reports)}
    return render_comparison(reports, compared), render_comparison_markdown(reports, compared), document
