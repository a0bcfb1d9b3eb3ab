"""Which files a bundle is asked about: those that are named, and those in the folders that are named."""

from collections.abc import Sequence
from pathlib import Path

from edgekd.errors import DataError
from edgekd.preprocess import IMAGE_ENDINGS, ROW_ENDINGS, Kind

ENDINGS: dict[Kind, tuple[str, ...]] = {"image": IMAGE_ENDINGS, "vector": ROW_ENDINGS}


def files_in(paths: Sequence[Path], kind: Kind) -> list[Path]:
    """``paths`` with each folder replaced by the files of ``kind`` in and below it, sorted; hidden ones are left out.

    Raises :class:`DataError` for a folder without any.
    """
    return [file for path in paths for file in (below(path, ENDINGS[kind]) if path.is_dir() else [path])]


def below(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(endings)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise DataError(f"{folder}: holds no file that ends in {', '.join(endings)}; give another folder, or the files")
    return found
