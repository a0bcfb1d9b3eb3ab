"""The layouts of sources on disk: what a recipe check looks for before any sample is read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.errors import DataError, first_line
from edgekd.files import require_file
from edgekd.folders import IMAGES, Found, entries, holds, search, several
from edgekd.log import get_logger
from edgekd.nearest import nearest

if TYPE_CHECKING:
    from edgekd.data.raw import SourceKeys

logger = get_logger(__name__)

PARTS = ("train", "test")
# What validation samples are called next to those.
VALIDATION = ("dev", "val", "valid", "validation")
FOLDER = "an image folder holds train/<class>/* and test/<class>/*"
MASKS = "images with masks lie in train/images, train/masks, test/images and test/masks"
# Of a column's name, for a target; where no column has it the last one is the target.
TARGET = "target."
TABLE = f"a table has a line of column names, then numbers; targets are columns {TARGET}NAME, or the last one"
# Of an archive with several inputs, before their names.
SEVERAL = "train_x."


def parts_among(names: Iterable[str], data: SourceKeys, where: object) -> dict[str, str]:
    """Return what each part that is read is called: train, test and, if one of ``names`` is its, validation.

    Raises:
        DataError: several are names of validation samples.
    """
    parts = {part: part for part in PARTS}
    found = sorted(name for name in names if name.lower() in VALIDATION)
    if len(found) > 1:
        raise DataError(f"{where}: {', '.join(found)}: each is a name of validation samples; leave one there")
    if found and not data.takes_given_validation:
        logger.info(f"{where}: left out: {found[0]}; validation samples are held out of {data.validation_of}")
        return parts
    return {**parts, "validation": found[0]} if found else parts


def folders_of_parts(data: SourceKeys) -> dict[str, Path]:
    """Return the folders ``train`` and ``test`` below ``data.path``, and that of validation samples if it is read."""
    root = data.path
    assert root is not None
    parts = parts_among((each.name for each in root.glob("*") if each.is_dir()), data, root)
    return {part: root / name for part, name in parts.items()}


def image_folder(root: Path) -> None:
    """Refuse a folder without ``train/<class>/*`` and ``test/<class>/*``: DataError."""
    names = class_folders([root / part for part in PARTS])
    for part in PARTS:
        for name in names:
            must_hold_images(root / part / name, "remove the folder of that class")


def class_folders(parts: Sequence[Path]) -> tuple[str, ...]:
    """Return the names of the classes, which have a folder in each of ``parts``, the first of training samples.

    Raises:
        DataError: a folder is missing.
    """
    for part in parts:
        if not part.is_dir():
            raise DataError(f"there is no folder {part}: {FOLDER}")
    # A class may be a link to a folder elsewhere.
    train, *others = ({each.name for each in entries(part) if each.is_dir()} for part in parts)
    for part, found in zip(parts[1:], others, strict=True):
        if train != found:
            only = several(sorted(train ^ found), 5)
            instead = "" if part.name in PARTS else "; data.validation holds samples out of train instead"
            raise DataError(
                f"{part.parent}: train and {part.name} do not have the same class folders; in one only: {only}{instead}"
            )
    if not train:
        raise DataError(f"{parts[0]} has no class folders: {FOLDER}")
    return tuple(sorted(train))


def must_hold_images(root: Path, otherwise: str) -> None:
    """Refuse a folder without any image: DataError, with the advice ``otherwise``."""
    if not holds(root, IMAGES):
        raise no_images(root, search(root, IMAGES), otherwise)


def no_images(root: Path, found: Found, otherwise: str) -> DataError:
    """Make the error for a folder without any image."""
    why = f" ({found.summary()})" if found.summary() else ""
    return DataError(f"{root} holds no {IMAGES}{why}: add some, or {otherwise}")


def unlabelled(root: Path) -> None:
    """Refuse a folder without any image to train on without a label: DataError."""
    must_hold_images(root, "leave data.unlabelled out")


def mask_folder(root: Path) -> None:
    """Refuse a folder without ``classes.txt``, images and masks: DataError."""
    from edgekd.data.legend import CLASSES, Legend

    Legend.read(root / CLASSES)
    for part in PARTS:
        must_have_masks(root / part)
        must_hold_images(root / part / "images", "name another folder as data.path")


def must_have_masks(root: Path) -> None:
    """Refuse a part without folders ``images`` and ``masks``: DataError."""
    for each in ("images", "masks"):
        if not (root / each).is_dir():
            raise DataError(f"there is no folder {root / each}: {MASKS}")


def archive(path: Path) -> None:
    """Refuse a file that is no NumPy archive of training and test samples: DataError."""
    from edgekd.arrayfiles import names_in_npz

    if not path.exists():
        raise DataError(f"there is no file {path}; data.path names a .npz with {', '.join(arrays_of([]))}")
    there = names_in_npz(path)
    needed = arrays_of([name.removeprefix(SEVERAL) for name in there if name.startswith(SEVERAL)])
    lacking = next((name for name in needed if name not in there), None)
    if lacking is not None:
        raise DataError(f"{path} has no array {lacking!r}; expected {', '.join(needed)}")


def arrays_of(inputs: list[str], parts: Iterable[str] = PARTS) -> tuple[str, ...]:
    """Return the names of the arrays that an archive needs: of several ``inputs``, or of one where they are empty."""
    parts = tuple(parts)
    if not inputs:
        return tuple(f"{part}_{each}" for part in parts for each in "xy")
    return (*(f"{part}_x.{name}" for part in parts for name in inputs), *(f"{part}_y" for part in parts))


def table_folder(root: Path, parts: Iterable[str] = PARTS) -> list[str]:
    """Return the columns of ``train.csv``, which the tables of the other ``parts`` have too.

    Raises:
        DataError: a table is missing, has other columns than the first one, or targets alone.
    """
    tables = [root / f"{part}.csv" for part in parts]
    columns, *others = map(_columns, tables)
    for path, found in zip(tables[1:], others, strict=True):
        if found != columns:
            raise DataError(f"{path}: its columns are not those of train.csv: {_odd(columns, found)}")
    if len(targets_of(columns)) == len(columns):
        raise DataError(f"{root / 'train.csv'}: all columns are targets; {TABLE}")
    return columns


def targets_of(columns: list[str]) -> list[str]:
    """Return the columns that are targets: those that say so, or the last one."""
    return [name for name in columns if name.startswith(TARGET)] or columns[-1:]


def _columns(path: Path) -> list[str]:
    from edgekd.arrayfiles import is_number

    require_file(path, DataError)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            columns = next((line for line in csv.reader(file) if line), None)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({first_line(error)}); {TABLE}") from error
    if columns is None:
        raise DataError(f"{path}: holds no rows; {TABLE}")
    if len(columns) == 1 and (other := next((each for each in (";", "\t", "|") if each in columns[0]), None)):
        raise DataError(f"{path}: line 1: columns are separated by {other!r}: save it with commas; {TABLE}")
    if len(set(columns)) < len(columns) or not all(map(str.strip, columns)):
        raise DataError(f"{path}: line 1: columns are {', '.join(columns)[:100]}; give each a name of its own")
    if all(map(is_number, columns)):
        raise DataError(f"{path}: line 1: these are numbers, {', '.join(columns)[:100]}; {TABLE}")
    return columns


def _odd(columns: list[str], others: list[str]) -> str:
    """Say for a message what is the first difference of two tables' columns."""
    if name := next((name for name in others if name not in columns), None):
        return f"{name!r}{nearest(name, columns)}"
    if name := next((name for name in columns if name not in others), None):
        return f"{name!r} is missing"
    place = next(place for place, pair in enumerate(zip(columns, others, strict=True)) if pair[0] != pair[1])
    return f"column {place + 1} is {others[place]!r}, there {columns[place]!r}; give them in one order"


def coco(root: Path) -> None:
    """Refuse a folder without COCO's annotations of training and test images: DataError."""
    from edgekd.tasks.detection.annotations import coco

    for part in PARTS:
        coco.find_file(root, part)


def yolo(root: Path) -> None:
    """Refuse a folder without YOLO's images of training and test, or without names of classes: DataError."""
    from edgekd.tasks.detection.annotations import yolo

    yolo.read_names(root)
    for part in PARTS:
        images, _ = yolo.find_folders(root, part)
        must_hold_images(images, "name another folder as data.path")


def voc(root: Path) -> None:
    """Refuse a folder without Pascal VOC's annotations of training and test images: DataError."""
    from edgekd.tasks.detection.annotations import voc

    for part in PARTS:
        voc.find_files(root, part)
