"""Which files a bundle is asked about: those that are named, and those in the folders that are named."""

from collections.abc import Callable, Sequence
from pathlib import Path

from edgekd.errors import DataError
from edgekd.folders import IMAGES, ROWS, FileKind, search
from edgekd.preprocess import Kind

KINDS: dict[Kind, FileKind] = {"image": IMAGES, "vector": ROWS}


def files_in(paths: Sequence[Path], kind: Kind, tell: Callable[[str], None] = lambda line: None) -> list[Path]:
    """``paths`` with each folder replaced by the files of ``kind`` in and below it, by the rule of
    :mod:`edgekd.folders`; ``tell`` gets one line for each folder that something was left out of.

    Raises :class:`DataError` for a folder without any.
    """
    return [file for path in paths for file in (below(path, KINDS[kind], tell) if path.is_dir() else [path])]


def below(folder: Path, kind: FileKind, tell: Callable[[str], None]) -> list[Path]:
    found = search(folder, kind)
    summary = found.summary()
    if not found.files:
        why = f" ({summary})" if summary else ""
        raise DataError(f"{folder}: holds no {kind}{why}; give another folder, or the files")
    if summary:
        tell(f"{folder}: {summary}")
    return [folder / name for name in found.files]
