"""``edgekd lint``: the layers of a file that will run in int8 on a target, and what to change for the others."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli.output import print_table, target_names, tell, whose_reader_may_leave
from edgekd.errors import ModelError, first_line
from edgekd.formatting import ABSENT, count, percent
from edgekd.plain_text import line, rich

if TYPE_CHECKING:
    from onnx import ModelProto
    from rich.table import Table

    from edgekd.lint import Lint, LintedLayer, LintFinding

BELOW = 2
# Columns of a terminal that the reasons fit into.
WIDE = 110


def lint(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file, or a bundle.")],
    target: Annotated[
        str,
        typer.Option(help=f"Where the file will run: {target_names()}."),
    ],
    min_coverage: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Exit with 2 if a smaller share of the multiply-accumulates is int8."),
    ] = 0.0,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=N",
            help="Size of an open dimension at which MACs are counted; else that of the signature. Repeatable.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    confirm: Annotated[
        bool,
        typer.Option("--confirm/--no-confirm", help="Check the rules against the runtime itself, if it is installed."),
    ] = True,
) -> int:
    """Tell for each layer whether it will run in int8, which rule decides, and what to change."""
    from edgekd.cli.interrupt import leave_on_signal
    from edgekd.cli.workloads import parse_sizes
    from edgekd.lint import lint as lint_model

    leave_on_signal()
    path = file_for(Path(model), target)
    file = str(Path(model) / path.name) if Path(model).is_dir() else model
    loaded = load(path)
    found = lint_model(loaded, target, confirm=confirm, sizes=parse_sizes(size or []))
    with whose_reader_may_leave():
        if as_json:
            sys.stdout.write(json.dumps({"model": model, "file": file, **found.to_json()}, indent=1) + "\n")
        else:
            show(found, file, is_quantised(loaded))
    return BELOW if found.coverage < min_coverage else 0


def file_for(path: Path, target: str) -> Path:
    """Return the file at ``path`` or, of a bundle, one that is written for ``target``."""
    from edgekd.cli.workloads import Wanted, onnx_file
    from edgekd.lint.target import TARGETS
    from edgekd.profiles import serving

    if not path.is_dir():
        return onnx_file(path)
    TARGETS.find(target)
    return onnx_file(path, Wanted([{"profile": each} for each in serving(target)], target, target))


def load(path: Path) -> "ModelProto":
    import onnx

    from edgekd.external import external_files

    external_files(path, ModelError)
    try:
        model = onnx.load(path)
    except Exception as error:  # onnx's and the operating system's errors have no common class
        raise ModelError(f"{path} does not load with its weights: {first_line(error)}; export it again") from error
    if not model.graph.node:
        raise ModelError(f"{path} is no ONNX file: it holds no nodes; export it again")
    return model


def is_quantised(model: "ModelProto") -> bool:
    """Return whether any operator of the file quantises, or takes quantised values."""
    from edgekd.lint.graph import DEQUANTIZE, QUANTIZE
    from edgekd.lint.linter import QUANTISED_OPS

    return any(node.op_type in (QUANTIZE, DEQUANTIZE, *QUANTISED_OPS) for node in model.graph.node)


def show(found: "Lint", model: str, quantised: bool) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
    if not quantised:
        # Each layer would be said to lack the same thing.
        way = f"'edgekd export RUN --target {found.target}' writes the int8 file of a run that has quantised"
        tell(line(f"{model}: this file is not quantised, so nothing of it runs in int8; {way}"))
    else:
        for each in by_rule(found):
            tell(line(each))
        print_table(console, table(found, model, console.width >= WIDE))
    tell("\n".join(map(line, sentences(found))))


def by_rule(found: "Lint") -> list[str]:
    """Return for each broken rule on how many layers it is broken, its effect and the advice, the gravest first."""
    from edgekd.lint.result import EFFECTS

    broken: dict[str, list[LintFinding]] = {}
    for layer in found.layers:
        for finding in layer.findings:
            broken.setdefault(finding.code, []).append(finding)
    gravest = sorted(broken.items(), key=lambda each: (EFFECTS.index(each[1][0].effect), -len(each[1])))
    return [
        f"{code} ({each[0].effect}): {len(each)} of {len(found.layers)} layers; {each[0].advice}"
        for code, each in gravest
    ]


def table(found: "Lint", model: str, wide: bool = True) -> "Table":
    """Return a row for each layer; on a narrow terminal without the reasons."""
    from rich.table import Table

    shown = Table(title=rich(f"{model} for {found.target}"), box=None, pad_edge=False, header_style="bold")
    for heading in ("layer", "op"):
        shown.add_column(heading, overflow="fold")
    shown.add_column("MACs", justify="right", no_wrap=True)
    for heading in ("runs in", "rule", *(["why, and what to change"] if wide else [])):
        shown.add_column(heading, overflow="fold")
    for layer in found.layers:
        macs = count(layer.macs) if layer.macs is not None else ABSENT
        cells = map(rich, (layer.name, layer.op, macs, runs_in(layer)))
        codes = "\n".join(rich(finding.code) for finding in layer.findings)
        why = "\n".join(rich(f"{finding.message}; {finding.advice}") for finding in layer.findings)
        shown.add_row(*cells, codes, *([why] if wide else []))
    if not wide:
        shown.caption = f"{WIDE} columns, or --json, have the reason for each layer"
    return shown


def runs_in(layer: "LintedLayer") -> str:
    kind = "int8" if layer.int8 else "float"
    return f"{kind} (rules: {'int8' if layer.predicted else 'float'})" if layer.disagrees else kind


def sentences(found: "Lint") -> list[str]:
    """Return the findings on the whole file, its int8 coverage, and which runtime confirmed it."""
    inside = sum(layer.int8 for layer in found.weighted)
    lines = [f"{finding.code}: {finding.message}; {finding.advice}" for finding in found.findings]
    if found.refused:
        lines.append(f"{found.target} refuses this file: nothing of it runs")
    else:
        sizes = "".join(f", at {name}={size}" for name, size in found.sizes.items() if found.coverage_of == "MACs")
        lines.append(
            f"{percent(found.coverage)} of the {found.coverage_of} of convolutions and matrix products in int8{sizes}: "
            f"{inside} of {len(found.weighted)} layers"
        )
    if found.confirmed_by:
        odd = f"; rules and runtime disagree on {', '.join(found.disagreements)}" if found.disagreements else ""
        lines.append(f"confirmed by {found.confirmed_by}{odd}")
    if found.not_confirmed:
        lines.append(f"not confirmed: {found.not_confirmed}")
    return lines
