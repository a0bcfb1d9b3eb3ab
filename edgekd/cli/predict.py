"""``edgekd predict``: run a bundle on files."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd import plain_text
from edgekd.cli.output import tell
from edgekd.errors import DataError, EdgekdError
from edgekd.log import get_logger

if TYPE_CHECKING:
    from edgekd.bundle.inputs import InputFile
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
    paths = [each.path for each in files]
    watched = track(paths, "files", len(paths)) if is_document or not sys.stdout.isatty() else paths
    broken: list[DataError] = []

    def skip(error: DataError) -> None:
        broken.append(error)
        sys.stdout.flush()
        sys.stderr.write(plain_text.line(f"error: {error}") + "\n")

    found = predictor.stream(watched, top, batch, skip)
    if out is not None:
        found = PredictionFiles(out, "--out", files).of(found, files_of)
    if pictures is not None:
        drawn = PredictionFiles(pictures, "--pictures", files)
        found = drawn.of(found, lambda each: {"predicted.jpg": predictor.drawn(each)})
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


class PredictionFiles:
    """Files of predictions below ``folder``, named as the files to predict and in the folders in which these lie.

    Raises:
        EdgekdError: two files to predict have one place there.
    """

    def __init__(self, folder: Path, option: str, inputs: "Sequence[InputFile]"):
        self.folder, self.option = folder, option
        self.inputs = {each.path.resolve() for each in inputs}
        self.places: dict[str, Path] = {}
        self.made: dict[Path, tuple[str, int | None]] = {}
        self.replaced: list[str] = []
        taken: dict[Path, Path] = {}
        for path, place in inputs:
            stem = place.with_name(place.stem)
            if (other := taken.setdefault(stem, path)) != path:
                raise self._same(other, path, stem)
            self.places.setdefault(str(path), stem)

    def of(
        self, found: "Iterable[FilePrediction]", files: "Callable[[FilePrediction], Mapping[str, bytes]]"
    ) -> "Iterator[FilePrediction]":
        """Write the ``files`` of predictions, by the endings of their names, and yield the predictions.

        Files of before are replaced with a warning.

        Raises:
            EdgekdError: a file would replace another prediction's, or one that is to be predicted.
        """
        from edgekd.folders import several

        for each in found:
            row = "" if each.row is None else f".{each.row}"
            for ending, content in files(each).items():
                place = self.places[each.file]
                self._write(place.with_name(f"{place.name}{row}.{ending}"), content, (each.file, each.row))
            yield each
        if count := len(self.replaced):
            what = "a file of before was" if count == 1 else f"{count} files of before were"
            logger.warning(f"{self.folder}: {what} replaced: {several(self.replaced)}")

    def _write(self, place: Path, content: bytes, source: "tuple[str, int | None]") -> None:
        from edgekd.files import lies_there, write_bytes

        path = self.folder / place
        other = self.made.setdefault(path, source)
        if other != source:
            raise self._same(other[0], source[0], place)
        if path.resolve() in self.inputs:
            raise EdgekdError(f"{self.option}: the prediction of {source[0]} would replace {path}: give another folder")
        if lies_there(path) and not (path.is_file() and path.read_bytes() == content):
            self.replaced.append(str(place))
        write_bytes(path, content)

    def _same(self, one: Path | str, other: Path | str, place: Path) -> EdgekdError:
        return EdgekdError(
            f"the predictions of {one} and {other} would both be {self.folder / place}: rename one, or predict each "
            f"with its own {self.option}"
        )


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
