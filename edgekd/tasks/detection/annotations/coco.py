"""COCO's JSON: ``train.json`` and ``test.json``, or ``annotations/*train*.json`` and ``*val*.json``, next to images."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgekd.errors import DataError, first_line
from edgekd.files import read_content
from edgekd.nearest import nearest
from edgekd.strict_json import parse
from edgekd.tasks.detection.annotations import Annotations, checked, line_of, number, rows
from edgekd.tasks.detection.targets import FIRST_CROWD

if TYPE_CHECKING:
    from collections.abc import Callable

Id = int | str

SECTIONS = ("images", "annotations", "categories")
# Those of files that list images without their objects.
NAMED = ("images", "categories")
LARGEST = 1 << 31
# COCO's own training images have some fifty million, most of them corners of polygons.
MOST_ITEMS = 200_000_000
VALIDATION = ("val", "valid", "validation")
PARTS = {"train": ("train",), "test": ("test", *VALIDATION), "validation": VALIDATION}
# A part as a word of its own: train2017, but not trains.
PART = re.compile(r"(?<![a-z])(train|test|val|valid|validation)(?![a-z])")
BOXES = "instances_"
# How others of COCO's own files begin; those of test images list them without their objects.
UNANNOTATED = "image_info_"
OTHERS = ("captions_", "panoptic_", "person_keypoints_", "stuff_", UNANNOTATED)
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


class ListedImage(NamedTuple):
    """An image of a file: its id, its (height, width) where the file says it, and what gives the file and the line."""

    id: Id
    size: tuple[int, int] | None
    where: Callable[[], str]


def read_lists(path: Path) -> tuple[dict[str, ListedImage], dict[str, Id]]:
    """Read the images by their files' names, and the ids of categories by their names.

    Raises:
        DataError: there is no such file, or it is not of this format.
    """
    reader = _Reader(path, NAMED)
    images = {}
    for place, (own, each) in enumerate(reader.by_id("images", {"file_name": str}).items()):
        height, width = (_whole(reader.content["images"][place].get(side)) for side in ("height", "width"))
        size = (height, width) if height and width else None
        images[each["file_name"]] = ListedImage(own, size, partial(_where, path, "images", place))
    return images, {each["name"]: own for own, each in reader.by_id("categories", {"name": str}).items()}


class _Reader:
    def __init__(self, path: Path, sections: tuple[str, ...]):
        content = read_content(path, DataError, LARGEST)
        try:
            self.content: Any = parse(content, MOST_ITEMS)
        except ValueError as error:
            raise DataError(f"{path} is no JSON that can be read: {first_line(error)}") from error
        self.path, self.text = path, content.decode("utf-8-sig")
        if not isinstance(self.content, dict) or not all(isinstance(self.content.get(key), list) for key in sections):
            raise DataError(f"{path} is not COCO's format: it has no lists {', '.join(sections)}; {LAYOUT}")

    def read(self, root: Path, part: str) -> Annotations:
        categories = self.by_id("categories", {"name": str})
        classes = {each: place for place, each in enumerate(sorted(categories))}
        images = self.by_id("images", {"file_name": str, "width": int, "height": int})
        objects: dict[Any, list[list[float]]] = defaultdict(list)
        own_ids: dict[Any, int] = {}
        for place, each in enumerate(self.content["annotations"]):
            image, row = self._object(place, each, images, classes)
            objects[image].append(row)
            own = _id(each.get("id"))
            if own is not None and own_ids.setdefault(own, place) != place:
                first = _line(self.text, "annotations", own_ids[own])
                raise self._mistake("annotations", place, f"the id {own!r} is also that of line {first}")
        self._must_be_pixels(objects)
        return Annotations(
            names=tuple(categories[each]["name"] for each in classes),
            files=self._files([each["file_name"] for each in images.values()], root, part),
            sizes=tuple((each["height"], each["width"]) for each in images.values()),
            objects=tuple(rows(objects[each]) for each in images),
            where=partial(_where, self.path, "images"),
            categories=tuple(classes),
        )

    def _files(self, names: list[str], root: Path, part: str) -> tuple[Path, ...]:
        folder = self._folder(names[0], root, part)
        lacking = next((place for place, name in enumerate(names) if not (folder / name).is_file()), None)
        if lacking is not None:
            raise self._mistake("images", lacking, f"the image {names[lacking]!r} is not in {folder}")
        return tuple(folder / name for name in names)

    def _must_be_pixels(self, objects: dict[Any, list[list[float]]]) -> None:
        furthest = max((max(row[1:]) for own in objects.values() for row in own), default=None)
        if furthest is not None and furthest <= 1:
            raise self._mistake(
                "annotations",
                0,
                "all boxes lie within one pixel, as shares of an image's sides would: give [x, y, width, height] in "
                "pixels",
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
        if (crowd := each.get("iscrowd")) not in (0, 1, None):
            raise self._mistake("annotations", place, f"{name} has iscrowd {crowd!r}; give 0 or 1")
        x, y, width, height = box
        size = images[image]["height"], images[image]["width"]
        try:
            kind = FIRST_CROWD - classes[category] if crowd else classes[category]
            row = checked(kind, (x, y, x + width, y + height), size, name)
        except DataError as error:
            raise self._mistake("annotations", place, str(error)) from error
        return image, row

    def by_id(self, section: str, keys: dict[str, type]) -> dict[Any, Any]:
        """Return the ``keys`` of all entries of a section, of which the first one names an entry.

        Raises:
            DataError: an entry lacks one, or has the id or the name of another.
        """
        found: dict[Any, Any] = {}
        name, seen = next(iter(keys)), set[Any]()
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
            if read[name] in seen:
                raise self._mistake(section, place, f"the {name} {read[name]!r} is given twice")
            seen.add(read[name])
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
            folders = ", ".join(sorted(map(str, set(below))))
            raise self._mistake("images", 0, f"the image {name!r} is in none of {folders}")
        return found


def find_file(root: Path, part: str) -> Path:
    """Return the file with the annotations of ``part``.

    Raises:
        DataError: there is none, or there are several.
    """
    for name in PARTS[part]:
        found = _found(root, name)
        if len(found) > 1:
            raise DataError(
                f"{root} has several files with annotations of {part} images: {', '.join(map(str, found))}; leave one "
                "there, or join them"
            )
        if found:
            return found[0]
    raise DataError(f"{root} has no annotations of {part} images; {LAYOUT}")


def has_validation(root: Path) -> bool:
    """Return whether there are annotations of validation images next to those of test images."""
    return any(path != find_file(root, "test") for name in VALIDATION for path in _found(root, name))


def _found(root: Path, name: str) -> list[Path]:
    own = [root / f"{name}.json", root / name / "_annotations.coco.json"]
    return [*(path for path in own if path.is_file()), *_listed(root, name)]


def _listed(root: Path, name: str) -> list[Path]:
    """Return the files of a part in ``annotations``, of COCO's own those of boxes, or else of people's keypoints."""
    every = sorted((root / "annotations").glob("*.json"))
    of_part = [path for path in every if name in PART.findall(path.stem.lower())]
    # Without such a word train may be trainval, but val may not: it would be the same file.
    of_part = of_part or [path for path in every if _holds(path.stem.lower(), name)]
    boxes = [path for path in of_part if path.name.startswith(BOXES)]
    plain = [path for path in of_part if not path.name.startswith((BOXES, *OTHERS))]
    return boxes or plain or [path for path in of_part if path.name.startswith("person_keypoints_")]


def _holds(stem: str, name: str) -> bool:
    return name in stem and not PART.search(stem) and not (name == "val" and "train" in stem)


def _whole(value: Any) -> int | None:
    """Return a whole number, which tools write as 640.0 too; None for all else."""
    return int(value) if number(value) and float(value).is_integer() else None


def _id(value: Any) -> int | str | None:
    return value if isinstance(value, str) else _whole(value)


def _where(path: Path, section: str, place: int) -> str:
    """Return the file and the line of an entry, of a file that was read before."""
    text = read_content(path, DataError, LARGEST).decode("utf-8-sig")
    return f"{path}, line {_line(text, section, place)}"


def _line(text: str, section: str, place: int) -> int:
    """Return the line where the entry at ``place`` of a section begins, of a document that is known to have it."""
    decoder = json.JSONDecoder()
    key, at = decoder.raw_decode(text, _next(text, text.index("{") + 1))
    while key != section:
        _, at = decoder.raw_decode(text, _next(text, at))
        key, at = decoder.raw_decode(text, _next(text, at))
    at = _next(text, _next(text, at) + 1)
    for _ in range(place):
        at = _next(text, decoder.raw_decode(text, at)[1])
    return line_of(text, at)


def _next(text: str, at: int) -> int:
    found = re.compile(r"[\s,:]*").match(text, at)
    return found.end() if found else at
