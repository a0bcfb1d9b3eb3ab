"""``edgekd bundle``: pack, verify, show and diff."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd import plain_text
from edgekd.cli.output import tell, whose_reader_may_leave

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekd.bundle.diff import Difference
    from edgekd.bundle.golden import SelfTest
    from edgekd.bundle.manifest import Manifest, Tensor

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Pack, check, describe and compare bundles.")

Folder = Annotated[Path, typer.Argument(help="The folder that holds manifest.json.", metavar="DIR")]
DIFFERENT = 2
SHOWN = 60
HASH_DIGITS = 64
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def pack(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The bundle; RUN/bundle if left out.", show_default=False)] = None,
    stage: Annotated[
        str | None,
        typer.Option(help="A network by its name in the report; the last if left out.", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The bundle's name; the recipe's if left out.", show_default=False)
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option(
            "--license", metavar="SPDX", help="The network's licence, such as Apache-2.0.", show_default=False
        ),
    ] = None,
    data_license: Annotated[
        str | None, typer.Option(metavar="SPDX", help="The licence of its training data.", show_default=False)
    ] = None,
    raw_input: Annotated[
        bool, typer.Option("--raw-input", help="Add a file that takes raw uint8 images (N, H, W, C).")
    ] = False,
    decoded_output: Annotated[
        bool,
        typer.Option(
            "--decoded-output", help="Add a file with post-processing: suppressed boxes, classes of pixels, or points."
        ),
    ] = False,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Add a few test images as files, with their predictions.")
    ] = True,
    card: Annotated[
        Path | None, typer.Option(help="A model card of your own, in Markdown.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pack a finished run, or one of its networks, again. The same run packs to the same bytes."""
    from edgekd.cli.interrupt import leave_on_signal

    leave_on_signal()
    from edgekd.pipeline.pack import pack_run

    licences = {"model": license_, "data": data_license}
    folder = pack_run(
        run,
        out,
        stage=stage,
        name=name,
        licenses={of: license for of, license in licences.items() if license is not None},
        raw_input=raw_input,
        decoded_output=decoded_output,
        images=images,
        card=read_card(card) if card else None,
    )
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    typer.echo(
        json.dumps({"bundle": str(folder), "files": files}, indent=1) if as_json else plain_text.lines(str(folder))
    )


def read_card(path: Path) -> str:
    from edgekd.errors import BundleError
    from edgekd.files import read_content

    try:
        return read_content(path, BundleError).decode()
    except ValueError as error:
        raise BundleError(f"--card {path}: cannot be read ({error})") from error


@app.command()
def verify(
    folder: Folder,
    self_test: Annotated[
        bool,
        typer.Option(
            "--self-test",
            help="Also compare labels, Triton's copy and the network with the manifest, and run the golden samples.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Refuse a bundle in which anything was changed, removed or added. Nothing in it is run without --self-test.

    The manifest's seal is no signature: whoever changes a file can seal the manifest again. --self-test finds that
    where labels, Triton's copy, the network and its golden samples no longer agree; a signature finds all of it.
    """
    from edgekd.bundle.verify import verify as check

    manifest = check(folder)
    result = golden_test(folder) if self_test else None
    if as_json:
        found = {"ok": True, "name": manifest.name, "files": len(manifest.files)}
        typer.echo(json.dumps({**found, **({"self_test": result.to_json()} if result else {})}, indent=1))
        return
    line = f"ok: {manifest.name}, {len(manifest.files)} files as packed"
    if result:
        line += f"; {result.n} golden samples within {result.steps:g} steps of {result.step:.3g}"
        line += f", and {', '.join(result.others)} within theirs" if result.others else ""
    tell(line)


def golden_test(folder: Path) -> "SelfTest":
    from edgekd.bundle.predict import Predictor
    from edgekd.errors import BundleError

    result = Predictor(folder).self_test()
    if not result.passed:
        raise BundleError(
            f"{folder}: this machine computes other outputs: {result.describe()}; "
            "score it on this machine before using it"
        )
    return result


@app.command()
def show(folder: Folder, as_json: AsJson = False) -> None:
    """Print the contents of a bundle, after verifying it."""
    from edgekd.bundle.verify import verify as check

    manifest = check(folder)
    if as_json:
        typer.echo(json.dumps(manifest.to_json(), indent=1))
        return
    tell(summary(manifest))
    show_measurements(manifest)


def show_measurements(manifest: "Manifest") -> None:
    """Print the table of what was measured."""
    import sys

    from rich.console import Console

    from edgekd.bundle.manifest import REMEDY
    from edgekd.formatting import notes_on_rows
    from edgekd.report.row_table import RowTable
    from edgekd.tasks.registry import TASKS

    rows = manifest.measurements
    # A newer edgekd may have packed it.
    task = TASKS.get(manifest.task)
    if rows:
        console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
        console.print(RowTable(rows, task.metrics if task else ()))
    for note in notes_on_rows(rows):
        tell(note)
    if task is None:
        tell(f"This edgekd knows no task {manifest.task!r}, so its metrics are not shown; {REMEDY}.")


def summary(manifest: "Manifest") -> str:
    from edgekd.formatting import size
    from edgekd.plain_text import line

    tensors = [
        line(f"{kind}  {each.name}  {each.datatype} {list(each.shape)}{bounds_text(each)}")
        for kind, group in (("input", manifest.inputs), ("output", manifest.outputs))
        for each in group
    ]
    files = [line(f"{file.path}  {size(file.bytes)}  {file.role}") for file in manifest.files]
    return "\n".join(
        [
            f"{manifest.name}, predicts with {manifest.model}",
            line(f"task  {manifest.task}"),
            *tensors,
            line(f"labels  {', '.join(manifest.labels)}"),
            *(
                line(f"target  {each.device}  {each.file}  {each.runtime} on {each.processor}, {each.precision}")
                for each in manifest.targets
            ),
            *(line(f"{option}  {option_text(value)}") for option, value in manifest.decoder_by_label.items()),
            *files,
        ]
    )


def bounds_text(tensor: "Tensor") -> str:
    return "" if tensor.bounds is None else " from {} to {}".format(*tensor.bounds)


def option_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{label} {each:.6g}" if isinstance(each, float) else f"{label} {each}" for label, each in value.items()
        )
    return json.dumps(value)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A bundle.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.", show_default=False)],
    as_json: AsJson = False,
) -> int:
    """Tell two bundles apart, after verifying both: 0 nothing differs, 2 something does."""
    from edgekd.bundle.diff import diff as compare
    from edgekd.bundle.verify import verify as check

    found = compare(check(a), check(b))
    with whose_reader_may_leave():
        if as_json:
            document = {"equal": not found, "differences": [each.to_json() for each in found]}
            typer.echo(json.dumps(document, indent=1))
        else:
            show_differences(found, str(a), str(b))
    return DIFFERENT if found else 0


def show_differences(found: "Sequence[Difference]", a: str, b: str) -> None:
    """Print for each part the items that differ, as a list: paths of items are too long for a table's cells."""
    if not found:
        tell("nothing differs")
        return
    tell(f"A  {plain_text.line(a)}\nB  {plain_text.line(b)}")
    heading = None
    for each in found:
        whole = each.item == each.part
        if not whole and each.part != heading:
            heading = each.part
            tell(heading)
        before, after = cells(each.a, each.b)
        tell(plain_text.line(f"{'' if whole else '  '}{each.item}: {before} → {after}"))
    tell(f"{len(found)} difference{'s' if len(found) > 1 else ''}")


def cells(a: object, b: object) -> tuple[str, str]:
    """Return two values as texts, shortened where they differ then too."""
    short, whole = (cell(shortened(a)), cell(shortened(b))), (cell(a), cell(b))
    return short if short[0] != short[1] else whole


def shortened(value: object) -> object:
    """Return a value with six digits of each number and twelve of each hash."""
    if isinstance(value, dict):
        return {key: shortened(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    is_hash = isinstance(value, str) and len(value) == HASH_DIGITS and not set(value) - set("0123456789abcdef")
    return value[:12] if isinstance(value, str) and is_hash else value


def cell(value: object) -> str:
    from edgekd.formatting import ABSENT

    if value is None:
        return ABSENT
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
