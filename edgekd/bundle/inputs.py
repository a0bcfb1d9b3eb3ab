"""The files to predict: those that are named, and those in the folders that are named."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgekd.errors import DataError
from edgekd.folders import IMAGES, NAMED_ARRAYS, ROWS, FileKind, search
from edgekd.log import get_logger
from edgekd.preprocess import Kind

logger = get_logger(__name__)

KINDS: dict[Kind, FileKind] = {"image": IMAGES, "vector": ROWS, "tensors": NAMED_ARRAYS}


class InputFile(NamedTuple):
    """A file, and its place below the folder that was named; of a file that was named itself its name."""

    path: Path
    place: Path


def files_in(paths: Sequence[Path], kind: Kind) -> list[InputFile]:
    """Return ``paths`` with each folder replaced by the files of ``kind`` in and below it.

    The rule is that of :mod:`edgekd.folders`; a folder that something was left out of is logged.

    Raises:
        DataError: a folder holds no such file.
    """
    return [
        file
        for path in paths
        for file in (_below(path, KINDS[kind]) if path.is_dir() else [InputFile(path, Path(path.name))])
    ]


def _below(folder: Path, kind: FileKind) -> list[InputFile]:
    found = search(folder, kind)
    summary = found.summary()
    if not found.files:
        why = f" ({summary})" if summary else ""
        raise DataError(f"{folder}: holds no {kind}{why}; give another folder, or the files")
    if summary:
        logger.info(f"{folder}: {summary}")
    return [InputFile(folder / name, Path(name)) for name in found.files]
