"""edgekd bundle: verify and show."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Check and describe a bundle.")

Folder = Annotated[Path, typer.Argument(help="The folder that holds manifest.json.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def verify(
    folder: Folder,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Also run the golden input through ONNX Runtime here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Refuse a bundle in which anything was changed, removed or added. Nothing in it is run without --self-test."""
    from edgekd.bundle.verify import verify as check

    manifest = check(folder)
    found: dict[str, Any] = {"ok": True, "name": manifest.name, "files": len(manifest.files)}
    line = f"ok: {manifest.name}, {len(manifest.files)} files as packed"
    if self_test:
        found["self_test"] = result = golden_test(folder)
        line += f"; {result['n']} golden samples within {result['tolerance']:.3g}"
    typer.echo(json.dumps(found, indent=1) if as_json else line)


def golden_test(folder: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from edgekd.bundle.predict import Predictor
    from edgekd.errors import BundleError

    result = Predictor(folder).self_test()
    if not result.passed:
        raise BundleError(
            f"{folder}: computes something else on this machine: {result.same_class} of {result.judged} classes "
            f"agree, largest difference {result.max_abs_difference:.3g}, allowed {result.tolerance:.3g}; "
            "measure its accuracy here before using it"
        )
    return asdict(result)


@app.command()
def show(folder: Folder, as_json: AsJson = False) -> None:
    """Print what a bundle holds, after verifying it."""
    from dataclasses import asdict

    from edgekd.bundle.verify import verify as check

    manifest = check(folder)
    typer.echo(json.dumps(asdict(manifest), indent=1) if as_json else summary(asdict(manifest)))


def summary(manifest: dict[str, Any]) -> str:
    from edgekd.figures import columns, markdown_table, size

    tensors = [
        f"{kind[:-1]}  {each['name']}  {each['datatype']} {list(each['shape'])}"
        for kind in ("inputs", "outputs")
        for each in manifest[kind]
    ]
    files = [f"{file['path']}  {size(file['bytes'])}  {file['role']}" for file in manifest["files"]]
    rows = manifest["measurements"]
    return "\n".join(
        [
            f"{manifest['name']}, predicts with {manifest['model']}",
            *tensors,
            f"labels  {', '.join(manifest['labels'])}",
            *files,
            *([markdown_table(columns(rows), rows)] if rows else []),
        ]
    )
