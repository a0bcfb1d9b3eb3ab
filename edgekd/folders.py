"""The files of a folder that are read.

One rule serves training folders, unlabelled images and predictions.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgekd.errors import DataError
from edgekd.plain_text import line

# Systems and archivers leave these in every folder; hidden files, AppleDouble's among them, begin with a full stop.
LITTER = ("__macosx", "thumbs.db", "desktop.ini")
SHOWN = 4


@dataclass(frozen=True)
class FileKind:
    """A kind of files, known by the endings of their names in any case."""

    name: str
    endings: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({' '.join(self.endings)})"


IMAGES = FileKind(
    "images",
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pbm", ".tif", ".tiff"),
)
ROWS = FileKind("tables", (".npy", ".csv"))
NAMED_ARRAYS = FileKind("archives", (".npz",))

# Why files are left out: the words for one, and for several.
EMPTY = "empty file", "empty files"
LINK = "link to a folder", "links to folders"
SPECIAL = "pipe, device or broken link", "pipes, devices or broken links"
OUTSIDE = "image outside of the class folders", "images outside of the class folders"


@dataclass
class Found:
    """The ``files`` of a kind in and below a folder, relative to it, and what was left out by reason."""

    kind: FileKind
    files: list[str] = field(default_factory=list)
    of_other_kinds: Counter[str] = field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: "Found", below: str) -> None:
        """Add what was found in the folder ``below``."""
        self.files += [f"{below}/{name}" for name in other.files]
        self.of_other_kinds += other.of_other_kinds
        self.left_out += other.left_out

    def summary(self) -> str | None:
        """Say in one line what was left out, or return None; hidden files do not count."""
        parts = [f"{count} {reason[count > 1]}" for reason, count in self.left_out.items()]
        if self.of_other_kinds:
            endings = sorted(self.of_other_kinds)
            more = ", …" if len(endings) > SHOWN else ""
            total = self.of_other_kinds.total()
            what = "files that are" if total > 1 else "file that is"
            parts.insert(0, f"{total} {what} no {self.kind.name} ({', '.join(endings[:SHOWN])}{more})")
        return f"left out: {', '.join(parts)}" if parts else None


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of ``folder`` that are not hidden, by name.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            yield from sorted((entry for entry in found if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error


def search(root: Path, kind: FileKind, deep: bool = True) -> Found:
    """Find the files of ``kind`` in ``root``, and below it if ``deep``; a folder's own files come before deeper ones.

    Links to files are followed, links to folders are not.

    Raises:
        DataError: a folder cannot be read.
    """
    found = Found(kind)
    waiting = [""]
    while waiting:
        above = waiting.pop()
        below = []
        for entry in entries(root / above):
            name = f"{above}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                below.append(f"{name}/")
            else:
                _sort_in(found, entry, name)
        waiting += reversed(below) if deep else []
    return found


def holds(root: Path, kind: FileKind) -> bool:
    """Return whether :func:`search` would find a file of ``kind``, without looking at all of them.

    Raises:
        DataError: a folder cannot be read.
    """
    waiting = [str(root)]
    for folder in waiting:
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if is_hidden(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.name.lower().endswith(kind.endings) and entry.is_file() and entry.stat().st_size:
                        return True
        except OSError as error:
            raise _unreadable(folder, error) from error
    return False


def _unreadable(folder: Path | str, error: OSError) -> DataError:
    return DataError(f"{folder}: the folder cannot be read ({error.strerror}); mend that, or remove it")


def _sort_in(found: Found, entry: os.DirEntry[str], name: str) -> None:
    try:
        status = entry.stat()
    except OSError:  # a link to nothing, or to itself
        found.left_out[SPECIAL] += 1
        return
    if stat.S_ISDIR(status.st_mode):
        found.left_out[LINK] += 1
    elif not stat.S_ISREG(status.st_mode):
        found.left_out[SPECIAL] += 1
    elif not name.lower().endswith(found.kind.endings):
        found.of_other_kinds[ending(entry.name)] += 1
    elif not status.st_size:
        found.left_out[EMPTY] += 1
    else:
        found.files.append(name)


def ending(name: str) -> str:
    return line(os.path.splitext(name)[1].lower()[:16]) or "no ending"  # noqa: PTH122 (a million names)


def several(names: Iterable[str], most: int = SHOWN) -> str:
    """List the first ``most`` of ``names``, with a sign if there are more."""
    listed = list(names)
    return ", ".join(map(line, listed[:most])) + (", …" if len(listed) > most else "")
