"""``edgekd check`` and ``edgekd baseline``: the regression gate and its baselines."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli.output import tell, whose_reader_may_leave
from edgekd.log import get_logger

if TYPE_CHECKING:
    from edgekd.gate import Verdict

logger = get_logger(__name__)

NOT_MET = 2
SUMMARY = "GITHUB_STEP_SUMMARY"

baseline_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Choose the run that later ones are compared with."
)


def check(
    baseline: Annotated[Path, typer.Option(help="The file that 'edgekd baseline promote' wrote, or a report.json.")],
    current: Annotated[Path, typer.Option(help="A run's folder, or its report.json.")],
    policy: Annotated[
        Path | None,
        typer.Option(help="TOML; if left out, tool.edgekd.gate of ./pyproject.toml.", show_default=False),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.", show_default=False)] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown to this file.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:
    """Compare a run with a baseline: 0 nothing got worse, 2 something did, 3 the two cannot be compared.

    Metrics are compared in pairs on the same test samples. Latency is compared with the baseline's own file ('edgekd
    run --beside'), else by the ratio to the teacher, with its interval. Sizes and counts are compared exactly. In
    GitHub Actions the Markdown goes to the step summary too.
    """
    from edgekd.files import write_text
    from edgekd.gate import check as judge
    from edgekd.gate import load_policy, load_subject
    from edgekd.gate.markdown import render_markdown

    verdict = judge(load_subject(baseline), load_subject(current), load_policy(policy))
    with whose_reader_may_leave():
        if as_json:
            sys.stdout.write(json.dumps(verdict.to_json(), indent=1) + "\n")
        else:
            show(verdict, baseline, current)
    if junit:
        from edgekd.gate.junit import render_junit

        write_text(junit, render_junit(verdict))
    if markdown:
        write_text(markdown, render_markdown(verdict))
    if summary := os.environ.get(SUMMARY):
        append(Path(summary), render_markdown(verdict))
    return 0 if verdict.passed else NOT_MET


@baseline_app.command()
def promote(
    report: Annotated[Path, typer.Argument(help="A run's folder, or its report.json.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="The baseline to write; commit it.", show_default=False)],
    files: Annotated[
        bool,
        typer.Option("--files", help="Keep the network's files next to it, for 'edgekd run --beside'."),
    ] = False,
) -> None:
    """Make a run the baseline: the metrics of its deployed network, and what it predicted for each test sample.

    Of accuracy that is a bit for each sample, in the baseline itself; of other metrics it is a file in
    <baseline>-files, to be committed too.

    With --files its ONNX files go to <baseline>-files: 'edgekd run --beside' times a later network in turns with
    them, which detects a slower one on a busy machine too.
    """
    from edgekd.gate import load_subject
    from edgekd.gate.files import keep_files, remove_other_files
    from edgekd.gate.subject import must_be_free_for_baseline

    subject = load_subject(report)
    warnings = subject.warnings()
    must_be_free_for_baseline(file)
    networks = keep_files(report, file) if files else []
    kept = networks + subject.save(file)
    # The baseline of before, which named the others, is gone by now.
    if files:
        remove_other_files(file, networks)
    tell(f"{file}: {subject.name}, {'; '.join(row.place_text for row in subject.rows.values())}")
    for path in kept:
        tell(f"{path}: {path.stat().st_size} bytes")
    for warning in warnings:
        logger.warning(warning)


def show(verdict: "Verdict", baseline: Path, current: Path) -> None:
    from rich.console import Console

    from edgekd.gate.files import has_files
    from edgekd.gate.table import render_table

    # A log has room for a reason in one line.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    files = has_files(baseline)
    run = current.parent if files and current.is_file() else current
    promote = shlex.join(["edgekd", "baseline", "promote", str(run), str(baseline), *(["--files"] if files else [])])
    console.print(render_table(verdict, promote), crop=False)


def append(path: Path, text: str) -> None:
    from edgekd.files import storage

    with storage(path), path.open("a", encoding="utf-8") as file:
        file.write(text)
