"""COCO's JSON: ``train.json`` and ``test.json``, or ``annotations/*train*.json`` and ``*val*.json``, next to images."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from edgekd.errors import DataError, first_line
from edgekd.files import read_content
from edgekd.nearest import nearest
from edgekd.strict_json import parse
from edgekd.tasks.detection.annotations import Annotations, checked, first_there, line_of, number, rows

Id = int | str

SECTIONS = ("images", "annotations", "categories")
# Those of files that list images without their objects.
NAMED = ("images", "categories")
LARGEST = 1 << 31
PARTS = {"train": ("train",), "test": ("test", "val")}
# Of files that list images without their objects, as those of COCO's own test images.
UNANNOTATED = "image_info_"
EXPECTED = {str: "give a text", int: "give a whole number above 0"}
LAYOUT = (
    "expected train.json and test.json (or annotations/*train*.json and *val*.json) with images, annotations and "
    "categories, and the images in folders of these names, in images, or beside"
)


def read(root: Path, part: str) -> Annotations:
    """Read the images of ``part`` below ``root``; boxes are [x, y, width, height] in pixels.

    Raises:
        DataError: there is no such file, it is not of this format, or an annotation has a mistake.
    """
    return _Reader(find_file(root, part), SECTIONS).read(root, part)


def read_ids(path: Path) -> tuple[dict[str, Id], dict[str, Id]]:
    """Read the ids of images by their files' names, and those of categories by their names.

    Raises:
        DataError: there is no such file, or it is not of this format.
    """
    reader = _Reader(path, NAMED)
    images = {each["file_name"]: own for own, each in reader.by_id("images", {"file_name": str}).items()}
    return images, {each["name"]: own for own, each in reader.by_id("categories", {"name": str}).items()}


class _Reader:
    def __init__(self, path: Path, sections: tuple[str, ...]):
        self.path, self.text = path, read_content(path, DataError, LARGEST).decode("utf-8", "replace")
        try:
            self.content: Any = parse(self.text.encode())
        except ValueError as error:
            raise DataError(f"{path} is no JSON that can be read: {first_line(error)}") from error
        if not isinstance(self.content, dict) or not all(isinstance(self.content.get(key), list) for key in sections):
            raise DataError(f"{path} is not COCO's format: it has no lists {', '.join(sections)}; {LAYOUT}")

    def read(self, root: Path, part: str) -> Annotations:
        categories = self.by_id("categories", {"name": str})
        classes = {each: place for place, each in enumerate(sorted(categories))}
        images = self.by_id("images", {"file_name": str, "width": int, "height": int})
        objects: dict[Any, list[list[float]]] = defaultdict(list)
        for place, each in enumerate(self.content["annotations"]):
            image, row = self._object(place, each, images, classes)
            objects[image].append(row)
        files, folder = [], None
        for image in images.values():
            folder = folder or self._folder(image["file_name"], root, part)
            files.append(folder / image["file_name"])
        return Annotations(
            names=tuple(categories[each]["name"] for each in classes),
            files=tuple(files),
            sizes=tuple((each["height"], each["width"]) for each in images.values()),
            objects=tuple(rows(objects[each]) for each in images),
            categories=tuple(classes),
        )

    def _object(
        self, place: int, each: Any, images: dict[Any, Any], classes: dict[Any, int]
    ) -> tuple[Any, list[float]]:
        if not isinstance(each, dict):
            raise self._mistake("annotations", place, "is no object of JSON")
        given, kind, box = (each.get(key) for key in ("image_id", "category_id", "bbox"))
        image, category = _id(given), _id(kind)
        name = f"annotation {each.get('id', place)}"
        if image not in images:
            raise self._mistake("annotations", place, f"{name} is of the image {given!r}, which is not in images")
        if category not in classes:
            known = [str(known) for known in classes]
            raise self._mistake(
                "annotations",
                place,
                f"{name} has the category {kind!r}, which is unknown{nearest(str(kind), known)}: add it to categories",
            )
        if not isinstance(box, list) or len(box) != 4 or not all(map(number, box)):
            raise self._mistake("annotations", place, f"{name} has the bbox {box!r}; give [x, y, width, height]")
        x, y, width, height = box
        size = images[image]["height"], images[image]["width"]
        try:
            row = checked(classes[category], (x, y, x + width, y + height), size, name, bool(each.get("iscrowd")))
        except DataError as error:
            raise self._mistake("annotations", place, str(error)) from error
        return image, row

    def by_id(self, section: str, keys: dict[str, type]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for place, each in enumerate(self.content[section]):
            own = _id(each.get("id")) if isinstance(each, dict) else None
            if own is None:
                raise self._mistake(section, place, f"an entry of {section} has no id: give a whole number or a text")
            read = {key: _whole(each.get(key)) if kind is int else each.get(key) for key, kind in keys.items()}
            for key, kind in keys.items():
                value = read[key]
                if not isinstance(value, kind) or not value or (isinstance(value, int) and value < 0):
                    raise self._mistake(section, place, f"{key} of {own!r} is {each.get(key)!r}: {EXPECTED[kind]}")
            if own in found:
                raise self._mistake(section, place, f"the id {own!r} is given twice")
            if (first := next(iter(found), own)).__class__ is not own.__class__:
                raise self._mistake(
                    section, place, f"the id is {own!r}, that of the first {first!r}: give only numbers, or only texts"
                )
            found[own] = read
        if not found:
            raise DataError(f"{self.path} lists no {section}; {LAYOUT}")
        return found

    def _mistake(self, section: str, place: int, what: str) -> DataError:
        return DataError(f"{self.path}, line {_line(self.text, section, place)}: {what}")

    def _folder(self, name: str, root: Path, part: str) -> Path:
        year = self.path.stem.removeprefix("instances_").removesuffix("_annotations.coco")
        below = [self.path.parent, root / year, *(root / each for each in PARTS[part])]
        below += [root / "images" / each for each in (year, *PARTS[part])]
        below += [root / "images", root]
        found = next((folder for folder in below if (folder / name).is_file()), None)
        if found is None:
            raise DataError(f"{self.path}: the image {name!r} is in none of {', '.join(sorted(map(str, set(below))))}")
        return found


def find_file(root: Path, part: str) -> Path:
    """Return the file with the annotations of ``part``.

    Raises:
        DataError: there is none.
    """
    for name in PARTS[part]:
        found = first_there([root / f"{name}.json", root / name / "_annotations.coco.json"])
        found = found or next((path for path in _listed(root, name) if not path.name.startswith(UNANNOTATED)), None)
        if found is not None:
            return found
    found = next((path for name in PARTS[part] for path in _listed(root, name)), None)
    if found is None:
        raise DataError(f"{root} has no annotations of {part} images; {LAYOUT}")
    return found


def _listed(root: Path, name: str) -> list[Path]:
    """Return the files of a part, those of boxes first: COCO has captions and keypoints beside them."""
    found = sorted((root / "annotations").glob(f"*{name}*.json"))
    return sorted(found, key=lambda path: not path.name.startswith("instances_"))


def _whole(value: Any) -> int | None:
    """Return a whole number, which tools write as 640.0 too; None for all else."""
    return int(value) if number(value) and float(value).is_integer() else None


def _id(value: Any) -> int | str | None:
    return value if isinstance(value, str) else _whole(value)


def _line(text: str, section: str, place: int) -> int:
    """Return the line where the object at ``place`` of a list begins."""
    start = re.search(rf'"{section}"\s*:\s*\[', text)
    if start is None:
        return 1
    decoder, at = json.JSONDecoder(), start.end()
    for _ in range(place):
        at = _next(text, decoder.raw_decode(text, _next(text, at))[1])
    return line_of(text, _next(text, at))


def _next(text: str, at: int) -> int:
    found = re.compile(r"[\s,]*").match(text, at)
    return found.end() if found else at
