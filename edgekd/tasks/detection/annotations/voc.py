"""Pascal VOC's XML: a file for each image next to it, in ``train`` and ``test``, or the folders of VOCdevkit.

In VOCdevkit these are ``Annotations``, ``JPEGImages`` and ``ImageSets/Main/train.txt`` (or ``trainval``), ``test.txt``
(or ``val``). Pixels count from 1 there, and a box holds its last pixel: with xmin equal to xmax it is one pixel wide.
Objects that are marked difficult count neither as found nor as missed, nor does what overlaps them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from edgekd.arrayfiles import to_number
from edgekd.errors import DataError
from edgekd.files import read_content
from edgekd.folders import IMAGES, search, several
from edgekd.log import get_logger
from edgekd.nearest import nearest
from edgekd.tasks.detection.annotations import (
    LARGEST,
    Annotations,
    checked,
    first_there,
    read_classes,
    rows,
)
from edgekd.tasks.detection.targets import FIRST_DIFFICULT

logger = get_logger(__name__)

VALIDATION = ("val", "valid", "validation")
PARTS = {"train": ("train", "trainval"), "test": ("test", *VALIDATION), "validation": VALIDATION}
DEPTH = 32
LAYOUT = "expected train/*.xml and test/*.xml next to their images, or Annotations, JPEGImages and ImageSets/Main"


def read(root: Path, part: str) -> Annotations:
    """Read the images of ``part`` below ``root``; classes are those of its training images, by name, or classes.txt.

    Raises:
        DataError: a folder is missing, or a file has a mistake.
    """
    images = [_parse(path) for path in find_files(root, part)]
    names = _names(root, images if part == "train" else [_parse(path) for path in find_files(root, "train")])
    return Annotations(
        names=names,
        files=_files(root, images),
        sizes=tuple(each.size for each in images),
        objects=tuple(rows([_row(each, one, names) for one in each.objects]) for each in images),
        where=[each.where for each in images].__getitem__,
    )


class _Object(NamedTuple):
    line: int
    fields: dict[str, str]


class _Image(NamedTuple):
    path: Path
    name: str
    size: tuple[int, int]
    line: int
    objects: list[_Object]

    @property
    def where(self) -> str:
        return f"{self.path}, line {self.line}"


class _Handler:
    """Collects the texts of a file's elements, by their path, with the lines of its objects."""

    def __init__(self, parser: expat.XMLParserType):
        self.parser, self.way, self.text = parser, list[str](), ""
        self.about, self.objects, self.line = dict[str, str](), list[_Object](), 1
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        parser.CharacterDataHandler = self.characters
        parser.StartDoctypeDeclHandler = self.refuse

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.way.append(name)
        self.text = ""
        if len(self.way) > DEPTH:
            raise ValueError("elements are nested too deep")
        if self.way[1:] == ["size"]:
            self.line = self.parser.CurrentLineNumber
        if self.way[1:] == ["object"]:
            self.objects.append(_Object(self.parser.CurrentLineNumber, {}))

    def end(self, name: str) -> None:
        inner = ".".join(self.way[1:])
        if inner.startswith("object."):
            self.objects[-1].fields.setdefault(inner.removeprefix("object."), self.text.strip())
        else:
            self.about.setdefault(inner, self.text.strip())
        self.way.pop()
        self.text = ""

    def characters(self, text: str) -> None:
        self.text += text

    def refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type, which annotations have no use for")


def _parse(path: Path) -> _Image:
    parser = expat.ParserCreate()
    handler = _Handler(parser)
    try:
        parser.Parse(read_content(path, DataError, LARGEST), True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: of an unknown encoding
        raise DataError(f"{path}, line {parser.CurrentLineNumber}: no XML that can be read ({error})") from error
    try:
        size = int(handler.about["size.height"]), int(handler.about["size.width"])
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}, line {handler.line}: the image's size is missing: give <size> with <width> and <height>"
        ) from error
    if min(size) <= 0:
        raise DataError(f"{path}, line {handler.line}: the image's size is {size[1]}x{size[0]}: give its pixels")
    return _Image(path, handler.about.get("filename", ""), size, handler.line, handler.objects)


def _row(image: _Image, each: _Object, names: tuple[str, ...]) -> list[float]:
    where = f"{image.path}, line {each.line}"
    name = each.fields.get("name", "")
    if name not in names:
        raise DataError(
            f"{where}: the class {name!r} is unknown{nearest(name, names)}: known are {', '.join(names)}, those of the "
            "training images or of classes.txt"
        )
    try:
        x1, y1, x2, y2 = (to_number(each.fields[f"bndbox.{side}"]) for side in ("xmin", "ymin", "xmax", "ymax"))
    except (KeyError, ValueError) as error:
        raise DataError(f"{where}: the box is no four numbers: give <bndbox> with xmin, ymin, xmax, ymax") from error
    if x2 < x1 or y2 < y1:  # named as it stands in the file
        checked(0, (x1, y1, x2, y2), image.size, where)
    kind = names.index(name)
    kind = FIRST_DIFFICULT - kind if each.fields.get("difficult", "0") == "1" else kind
    return checked(kind, (x1 - 1, y1 - 1, x2, y2), image.size, where)


def _names(root: Path, training: list[_Image]) -> tuple[str, ...]:
    listed = root / "classes.txt"
    if listed.is_file():
        return read_classes(listed)
    found = sorted({one.fields.get("name", "") for each in training for one in each.objects} - {""})
    if not found:
        raise DataError(f"{root}: no training image has an object; {LAYOUT}")
    return tuple(found)


def find_files(root: Path, part: str) -> list[Path]:
    """Return the files with the annotations of ``part``, one for each image.

    Raises:
        DataError: there are none.
    """
    found = next((found for each in PARTS[part] if (found := _found(root, each))), None)
    if found is None:
        raise DataError(f"{root} has no annotations of {part} images; {LAYOUT}")
    return found


def has_validation(root: Path) -> bool:
    """Return whether there are annotations of validation images next to those of test images.

    A list of them is passed over where training images are ``trainval``, which has them too.
    """
    training, tested = find_files(root, "train"), find_files(root, "test")
    own = [found for each in VALIDATION if (found := _found(root, each))]
    return any(found != tested and training != _found(root, "trainval") for found in own)


def _found(root: Path, name: str) -> list[Path]:
    if found := sorted((root / name).glob("*.xml")) or sorted((root / name / "Annotations").glob("*.xml")):
        return found
    listed = root / "ImageSets" / "Main" / f"{name}.txt"
    return _listed(root, listed) if listed.is_file() else []


def _listed(root: Path, listed: Path) -> list[Path]:
    lines = read_content(listed, DataError, LARGEST).decode("utf-8-sig", "replace").splitlines()
    found: dict[Path, int] = {}
    for number, line in enumerate(lines, start=1):
        if not (name := line.strip()):
            continue
        path, where = root / "Annotations" / f"{name}.xml", f"{listed}, line {number}"
        if not path.is_file():
            raise DataError(f"{where}: there is no {path}: give the names of annotations, one on each line")
        if found.setdefault(path, number) != number:
            raise DataError(f"{where}: {name!r} is also in line {found[path]}: remove one")
    if not found:
        raise DataError(f"{listed}, line 1: it lists no image; give the names of annotations, one on each line")
    return list(found)


def _files(root: Path, images: list[_Image]) -> tuple[Path, ...]:
    found: dict[Path, _Image] = {}
    for each in images:
        file = _image(root, each)
        if (other := found.setdefault(file, each)) is not each:
            raise DataError(f"{each.path}: its image {file} is also that of {other.path}: correct its <filename>")
    folder = images[0].path.parent
    beside = search(folder, IMAGES, deep=False).files
    if left_out := [name for name in beside if folder / name not in found]:
        logger.warning(f"{folder}: left out for want of annotations: {several(left_out)}")
    return tuple(found)


def _image(root: Path, image: _Image) -> Path:
    folders = (image.path.parent, image.path.parent.parent / "JPEGImages", root / "JPEGImages", root / "images")
    endings = [each for ending in (".jpg", ".jpeg", ".png") for each in (ending, ending.upper())]
    names = [image.name, *(f"{image.path.stem}{ending}" for ending in endings)]
    found = first_there([folder / name for folder in folders for name in names if name])
    if found is None:
        raise DataError(f"{image.path}: its image {image.name!r} is neither next to it nor in {root / 'JPEGImages'}")
    return found
