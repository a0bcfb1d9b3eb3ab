"""``edgekd predict``: run a bundle on files."""

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd import plain_text
from edgekd.cli.output import tell
from edgekd.errors import EdgekdError
from edgekd.formatting import percent

if TYPE_CHECKING:
    from edgekd.bundle.predict import ClassProbability, SamplePrediction

COLUMNS = ("label", "probability")


def predict(
    bundle: Annotated[Path, typer.Argument(help="The folder that holds manifest.json.")],
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE|FOLDER...", help="Images and folders of them, or .npy or .csv files of one sample per row."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many of the most probable classes to print.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Samples in one inference.")] = 32,
    threads: Annotated[int, typer.Option(min=0, help="Threads of ONNX Runtime; 0 lets it choose.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one line of CSV for each sample.")] = False,
) -> None:
    """Classify files with a bundle, after verifying it."""
    from edgekd.bundle.inputs import files_in
    from edgekd.bundle.predict import Predictor
    from edgekd.progress import track

    if as_json and as_csv:
        raise EdgekdError("--json and --csv: one of them at a time")
    predictor = Predictor(bundle, threads)
    files = files_in(images, predictor.preprocess.kind)
    watched = track(files, "files", len(files)) if as_json or not sys.stdout.isatty() else files
    found = predictor.stream(watched, top, batch)
    if as_json:
        typer.echo(json.dumps(list(found), indent=1))
    elif as_csv:
        rows = predictor.preprocess.kind == "vector"
        write_csv(found, rows, min(top, len(predictor.manifest.labels)))
    else:
        for each in found:
            tell(line(each))


def line(found: "SamplePrediction") -> str:
    name = f"{found['file']}:{found['row']}" if "row" in found else found["file"]
    return plain_text.line(f"{name}: ") + ", ".join(
        f"{best['label']} {percent(best['probability'])}" for best in found["top"]
    )


def write_csv(found: "Iterable[SamplePrediction]", rows: bool, top: int) -> None:
    """Print ``file``, ``row`` if files hold rows, ``label`` and ``probability``, then those of each next class."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    ranks = [f"{column}{rank}" for rank in ["", *(f"_{n}" for n in range(2, top + 1))] for column in COLUMNS]
    writer.writerow(["file", *(["row"] if rows else []), *ranks])
    for each in found:
        where = [plain_text.line(each["file"]), *([each.get("row", 0)] if rows else [])]
        writer.writerow([*where, *(cell for best in each["top"] for cell in cells(best))])


def cells(best: "ClassProbability") -> tuple[str, str]:
    return best["label"], f"{best['probability']:.6f}"
