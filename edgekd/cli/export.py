"""``edgekd export``: the files that runtimes load, from what a run has trained."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.cli.output import target_names, tell
from edgekd.formatting import percent, size

if TYPE_CHECKING:
    from edgekd.pipeline.export import Written


def export(
    source: Annotated[Path, typer.Argument(metavar="RUN|STAGE", help="A run folder, or a stage's under its stages/.")],
    target: Annotated[
        list[str],
        typer.Option(help=f"{target_names()}; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write to, with a folder for each target.")] = Path("export"),
    threads: Annotated[int, typer.Option(min=1, help="Threads for measuring which layers are faster in int8.")] = 1,
    capability: Annotated[
        str | None, typer.Option(help="Build TensorRT's engine ahead of time for this GPU, such as SM89.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Write a network of a run for one runtime or several, each file as that runtime runs it fastest."""
    from edgekd.cli.interrupt import leave_on_signal

    leave_on_signal()
    from edgekd.pipeline.export import export as write

    written = write(source, list(dict.fromkeys(target)), out, threads=threads, capability=capability)
    if as_json:
        sys.stdout.write(json.dumps([to_json(each) for each in written], indent=1) + "\n")
        return
    for each in written:
        tell("\n".join(lines(each)))


def to_json(written: "Written") -> dict[str, Any]:
    return {
        "target": written.target,
        "file": str(written.path),
        "size_bytes": written.path.stat().st_size,
        "precision": written.precision,
        "int8_coverage": written.lint.coverage,
        "engine": str(written.built.path) if written.built.path else None,
        "no_engine": written.built.reason,
    }


def lines(written: "Written") -> list[str]:
    share = f"{percent(written.lint.coverage)} of its {written.lint.coverage_of} in int8"
    found = [f"{written.target}: {written.path} ({size(written.path.stat().st_size)}, {share})"]
    if written.built.path:
        found.append(f"  engine: {written.built.path}")
    if written.built.reason:
        found.append(f"  no engine: {written.built.reason}")
    if written.lint.coverage < 1:
        found.append(f"  'edgekd lint {written.path} --target {written.target}' says why the rest is not")
    return found
