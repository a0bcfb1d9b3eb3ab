"""``edgekd predict``: run a bundle on files."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd import plain_text
from edgekd.cli.output import tell
from edgekd.errors import DataError, EdgekdError
from edgekd.log import get_logger

if TYPE_CHECKING:
    from edgekd.bundle.predict import FilePrediction

logger = get_logger(__name__)


def predict(
    bundle: Annotated[Path, typer.Argument(help="The folder that holds manifest.json.")],
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE|FOLDER...",
            help="Images and folders of them, or .npy or .csv files of one sample per row, or for several inputs .npz "
            "files with an array for each.",
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many of the most probable classes or labels to print.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Samples in one inference.")] = 32,
    threads: Annotated[int, typer.Option(min=0, help="Threads of ONNX Runtime; 0 lets it choose.")] = 0,
    target: Annotated[
        str | None,
        typer.Option(
            help="The target whose file predicts; when left out, the bundle's own or the one for this processor.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="The least score of a box that counts; the bundle's when left out.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one line of CSV for each sample.")] = False,
    coco: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="COCO's annotations of the images: print all boxes with their ids, for pycocotools.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for predictions that are pictures, such as masks; made if it is missing."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for copies of the images with boxes, masks or points on them; made if missing."),
    ] = None,
) -> int:
    """Predict files with a bundle, after verifying it. Unreadable files are named, and the exit code is then 1."""
    from edgekd.bundle.inputs import files_in
    from edgekd.bundle.predict import Predictor
    from edgekd.progress import track

    if as_json + as_csv + (coco is not None) > 1:
        raise EdgekdError("--json, --csv and --coco: one of them at a time")
    predictor = Predictor(bundle, threads, target, {} if threshold is None else {"threshold": threshold})
    if target is None and not predictor.chosen.optimised:
        logger.warning(
            f"{bundle}: {predictor.chosen.file} is for another processor or runtime, and no file for this machine's: "
            "it is computed step by step, which takes longer"
        )
    files = files_in(images, predictor.preprocess.kind)
    is_document = as_json or coco is not None
    watched = track(files, "files", len(files)) if is_document or not sys.stdout.isatty() else files
    broken: list[DataError] = []

    def skip(error: DataError) -> None:
        broken.append(error)
        sys.stdout.flush()
        sys.stderr.write(plain_text.line(f"error: {error}") + "\n")

    found = predictor.stream(watched, top, batch, skip)
    if out is not None:
        found = written(found, out, "--out", files_of)
    if pictures is not None:
        found = written(found, pictures, "--pictures", lambda each: {"predicted.jpg": predictor.drawn(each)})
    if coco is not None:
        typer.echo(json.dumps(list(predictor.results(found, coco))))
    elif as_json:
        typer.echo(json.dumps([each.to_json() for each in found], indent=1))
    elif as_csv:
        write_csv(found, has_rows=predictor.preprocess.kind != "image")
    else:
        for each in found:
            tell(line(each))
    if broken and len(files) > 1:
        sys.stderr.write(f"error: {len(broken)} of {len(files)} files were not predicted; mend or remove them\n")
    return 1 if broken else 0


def files_of(found: "FilePrediction") -> "Mapping[str, bytes]":
    """Return the pictures that a prediction is, by the endings of their names.

    Raises:
        EdgekdError: it is none.
    """
    from edgekd.tasks.task import PictureFiles

    if not isinstance(found.prediction, PictureFiles):
        raise EdgekdError("--out is for predictions that are pictures, and this bundle's are none: leave it out")
    return found.prediction.to_files()


def written(
    found: "Iterable[FilePrediction]",
    folder: Path,
    option: str,
    files: "Callable[[FilePrediction], Mapping[str, bytes]]",
) -> "Iterator[FilePrediction]":
    """Write the ``files`` of predictions into ``folder``, by their own files' names, and yield the predictions.

    Raises:
        EdgekdError: two have one name.
    """
    from edgekd.files import make_folder, write_bytes

    names: set[str] = set()
    for each in found:
        stem = Path(each.file).stem + ("" if each.row is None else f".{each.row}")
        if stem in names:
            raise EdgekdError(
                f"two files are called {stem!r}: predict them one folder at a time, each with its own {option}"
            )
        names.add(stem)
        for ending, content in files(each).items():
            write_bytes(make_folder(folder) / f"{stem}.{ending}", content)
        yield each


def line(found: "FilePrediction") -> str:
    name = found.file if found.row is None else f"{found.file}:{found.row}"
    return plain_text.line(f"{name}: ") + found.prediction.to_text()


def write_csv(found: "Iterable[FilePrediction]", has_rows: bool) -> None:
    """Print ``file``, ``row`` if files hold rows, and the columns of the task, under a line that names them."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, each in enumerate(found):
        cells = each.prediction.to_cells()
        if number == 0:
            # A value of a table may have the name of one of these, so that both are written.
            writer.writerow(["file", *(["row"] if has_rows else []), *cells])
        row = [str(each.row or 0)] if has_rows else []
        writer.writerow([plain_text.line(each.file), *row, *cells.values()])
