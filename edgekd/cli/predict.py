"""edgekd predict: run a bundle on files."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def predict(
    bundle: Annotated[Path, typer.Argument(help="The folder that holds manifest.json.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or .npy or .csv files of one sample per row.")],
    top: Annotated[int, typer.Option(min=1, help="How many of the most probable classes to print.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Classify files with a bundle, after verifying it."""
    from edgekd.bundle.predict import Predictor

    found = Predictor(bundle).predict(images, top)
    typer.echo(json.dumps(found, indent=1) if as_json else "\n".join(map(line, found)))


def line(found: dict[str, Any]) -> str:
    name = f"{found['file']}:{found['row']}" if "row" in found else found["file"]
    return f"{name}: " + ", ".join(f"{best['label']} {100 * best['probability']:.1f} %" for best in found["top"])
