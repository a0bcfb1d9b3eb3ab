"""YOLO's text files: ``images/train/*`` with ``labels/train/*.txt``, and ``data.yaml`` or ``classes.txt`` for names.

A line is ``class x y width height``: the middle and the sides as shares of the image's. An image without a file, or
with an empty one, has no objects.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edgekd.arrayfiles import to_number
from edgekd.errors import DataError, first_line
from edgekd.files import read_content
from edgekd.folders import IMAGES, search, several
from edgekd.images import open_image, prepare, reading, shape_of
from edgekd.log import get_logger
from edgekd.tasks.detection.annotations import (
    LARGEST,
    Annotations,
    checked,
    line_of,
    read_classes,
    rows,
)

logger = get_logger(__name__)

VALIDATION = ("val", "valid", "validation")
PARTS = {"train": ("train",), "test": ("test", *VALIDATION), "validation": VALIDATION}
CLASSES, SHOWN = "classes.txt", 4
NAMED_IN = ("data.yaml", "data.yml", "dataset.yaml", CLASSES)
LAYOUT = "expected images/train, labels/train, images/test (or val), labels/test, and data.yaml or classes.txt"
# Shares are rounded to a few digits.
ROUNDING = 1e-3


def read(root: Path, part: str) -> Annotations:
    """Read the images of ``part`` below ``root``.

    Raises:
        DataError: a folder is missing, or a line has a mistake.
    """
    names = read_names(root)
    images, labels = find_folders(root, part)
    if not labels.is_dir():
        raise DataError(f"there is no folder {labels} with the labels of {images}; {LAYOUT}")
    found = search(images, IMAGES)
    if not found.files:
        raise DataError(f"{images} holds no {IMAGES}; {LAYOUT}")
    if summary := found.summary():
        logger.info(f"{images}: {summary}")
    by_name = _by_name(labels)
    _log_strays(labels, by_name, found.files)
    files = tuple(images / name for name in found.files)
    sizes, objects = [], []
    for path, name in zip(files, found.files, strict=True):
        size = _size(path)
        sizes.append(size)
        usual = (labels / name).with_suffix(".txt")
        objects.append(_objects(by_name.get(Path(name).with_suffix(""), usual), size, names))
    return Annotations(names, files, tuple(sizes), tuple(objects), where=list(map(str, files)).__getitem__)


def find_folders(root: Path, part: str) -> tuple[Path, Path]:
    """Return the folders with the images and with the labels of ``part``.

    Raises:
        DataError: there are no such images.
    """
    found = next((pair for each in PARTS[part] for pair in _folders(root, each)), None)
    if found is None:
        raise DataError(f"{root} has no images of {part}; {LAYOUT}")
    return found


def has_validation(root: Path) -> bool:
    """Return whether there is a folder of validation images next to that of test images."""
    return any(pair != find_folders(root, "test") for each in VALIDATION for pair in _folders(root, each))


def _folders(root: Path, name: str) -> list[tuple[Path, Path]]:
    both = [(root / "images" / name, root / "labels" / name), (root / name / "images", root / name / "labels")]
    return [pair for pair in both if pair[0].is_dir()]


def _by_name(labels: Path) -> dict[Path, Path]:
    """Return the label files by their paths below ``labels``, without the ending, which is written in any case."""
    found: dict[Path, Path] = {}
    for path in sorted(each for each in labels.rglob("*") if each.suffix.lower() == ".txt"):
        if (other := found.setdefault(path.relative_to(labels).with_suffix(""), path)) != path:
            raise DataError(f"{path} and {other} are labels of one image: remove one")
    return found


def _log_strays(labels: Path, found: Mapping[Path, Path], images: Sequence[str]) -> None:
    """Log the label files of no image: an image whose labels have another name counts as one without objects."""
    expected = {Path(name).with_suffix("") for name in images}
    every = [path for name, path in found.items() if name not in expected and path.name != CLASSES]
    if strays := sorted(str(path.relative_to(labels)) for path in every):
        logger.warning(f"{labels}: no image has the name of {several(strays, SHOWN)}: their objects are left out")


def _size(path: Path) -> tuple[int, int]:
    with reading(path):
        _, height, width = shape_of(prepare(open_image(path)))
    return height, width


def _objects(path: Path, size: tuple[int, int], names: tuple[str, ...]) -> np.ndarray:
    if not path.is_file():
        return rows([])
    text = read_content(path, DataError, LARGEST).decode("utf-8-sig", "replace")
    lines = ((number, line.split()) for number, line in enumerate(text.splitlines(), start=1))
    return rows([_object(words, size, names, f"{path}, line {number}") for number, words in lines if words])


def _object(words: list[str], size: tuple[int, int], names: tuple[str, ...], where: str) -> list[float]:
    try:
        kind, (x, y, width, height) = int(words[0]), map(to_number, words[1:])
    except ValueError as error:
        raise DataError(f"{where}: {' '.join(words)[:60]!r} is not 'class x y width height', five numbers") from error
    if not 0 <= kind < len(names):
        raise DataError(f"{where}: the class {kind} is unknown: there are {len(names)}, from 0 on")
    if max(x, y, width, height) > 1 + ROUNDING:
        raise DataError(
            f"{where}: {x:g} {y:g} {width:g} {height:g} are pixels; YOLO's labels are shares of the image's sides, "
            "from 0 to 1: divide by its width and height"
        )
    tall, wide = size
    corners = ((x - width / 2) * wide, (y - height / 2) * tall, (x + width / 2) * wide, (y + height / 2) * tall)
    return checked(kind, corners, size, where)


def read_names(root: Path) -> tuple[str, ...]:
    """Read the names of the classes.

    Raises:
        DataError: no file has them, or two have different ones.
    """
    found = [(path, _names_in(path)) for name in NAMED_IN if (path := root / name).is_file()]
    if not found:
        raise DataError(f"{root} has no names of classes; {LAYOUT}")
    (first, names), *others = found
    for path, theirs in others:
        if theirs != names:
            raise DataError(f"{path} names {', '.join(theirs)}, and {first} {', '.join(names)}: remove the wrong one")
    return names


def _names_in(path: Path) -> tuple[str, ...]:
    if path.name == CLASSES:
        return read_classes(path)
    text = read_content(path, DataError, LARGEST).decode("utf-8-sig", "replace")
    found: Any = _yaml(path, text)
    names = found.get("names") if isinstance(found, dict) else None
    place = re.search(r"^\s*names\s*:", text, re.MULTILINE)
    where = f"{path}, line {line_of(text, place.end() if place else 0)}"
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DataError(f"{where}: names are numbered {reprlib.repr(list(names))}; number them from 0 on")
        names = [names[each] for each in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{where}: names is {reprlib.repr(names)}; give a list of the names of classes")
    # YAML reads some words as truth values, no among them.
    if wrong := [each for each in names if type(each) not in (str, int)]:
        raise DataError(f"{where}: the name {reprlib.repr(wrong[0])} is no text; write it in quotes")
    if (count := found.get("nc", len(names))) != len(names):
        raise DataError(f"{where}: there are {len(names)} names, and nc is {reprlib.repr(count)}: correct one")
    return tuple(map(str, names))


def _yaml(path: Path, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise DataError(f"{where}: cannot be read ({first_line(error)})") from error
