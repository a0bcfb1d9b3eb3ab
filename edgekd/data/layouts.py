"""The layouts of sources on disk: what a recipe check looks for before any sample is read."""

import csv
from pathlib import Path

from edgekd.errors import DataError, first_line
from edgekd.files import require_file
from edgekd.folders import IMAGES, Found, entries, holds, search, several
from edgekd.nearest import nearest

PARTS = ("train", "test")
FOLDER = "an image folder holds train/<class>/* and test/<class>/*"
MASKS = "images with masks lie in train/images, train/masks, test/images and test/masks"
# Of a column's name, for a target; where no column has it the last one is the target.
TARGET = "target."
TABLE = f"a table has a line of column names, then numbers; targets are columns {TARGET}NAME, or the last one"
# Of an archive with several inputs, before their names.
SEVERAL = "train_x."
ARRAYS = ("train_x", "train_y", "test_x", "test_y")


def image_folder(root: Path) -> None:
    """Refuse a folder without ``train/<class>/*`` and ``test/<class>/*``: DataError."""
    names = class_folders(root)
    for part in PARTS:
        for name in names:
            must_hold_images(root / part / name, "remove the folder of that class")


def class_folders(root: Path) -> tuple[str, ...]:
    """Return the names of the classes, which have a folder in ``train`` and in ``test`` each.

    Raises:
        DataError: a folder is missing.
    """
    for part in PARTS:
        if not (root / part).is_dir():
            raise DataError(f"there is no folder {root / part}: {FOLDER}")
    # A class may be a link to a folder elsewhere.
    train, test = ({each.name for each in entries(root / part) if each.is_dir()} for part in PARTS)
    if train != test:
        only = several(sorted(train ^ test), 5)
        raise DataError(f"{root}: train and test do not have the same class folders; in one only: {only}")
    if not train:
        raise DataError(f"{root / 'train'} has no class folders: {FOLDER}")
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
        raise DataError(f"there is no file {path}; data.path names a .npz with {', '.join(ARRAYS)}")
    there = names_in_npz(path)
    needed = arrays_of([name.removeprefix(SEVERAL) for name in there if name.startswith(SEVERAL)])
    lacking = next((name for name in needed if name not in there), None)
    if lacking is not None:
        raise DataError(f"{path} has no array {lacking!r}; expected {', '.join(needed)}")


def arrays_of(inputs: list[str]) -> tuple[str, ...]:
    """Return the names of the arrays that an archive needs: of several ``inputs``, or of one where they are empty."""
    if not inputs:
        return ARRAYS
    return (*(f"{part}_x.{name}" for part in PARTS for name in inputs), *(f"{part}_y" for part in PARTS))


def table_folder(root: Path) -> list[str]:
    """Return the columns of ``train.csv`` and ``test.csv``.

    Raises:
        DataError: a table is missing, has other columns than the other one, or targets alone.
    """
    columns, others = (_columns(root / f"{part}.csv") for part in PARTS)
    if columns != others:
        raise DataError(f"{root / 'test.csv'}: its columns are not those of train.csv: {_odd(columns, others)}")
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
