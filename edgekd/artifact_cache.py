"""Finished work on disk, found again by its key.

It is used only when every byte is as it was written.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from edgekd.files import (
    is_file,
    is_folder,
    lies_there,
    locked,
    move_aside,
    new_folder,
    sha256,
    sha256_file,
    storage,
    write_text,
)
from edgekd.log import get_logger
from edgekd.scratch import remove_leftovers

logger = get_logger(__name__)

# The format of coreutils, so that `sha256sum -c SHA256SUMS` checks an entry too; it passes over the first line.
SUMS = "SHA256SUMS"
HEAD = "# sha256 of the lines below: "
LINE = re.compile(r"([0-9a-f]{64})  ([^/\0]+)")
WORKPLACE = re.compile(r"\.work-.+-[0-9a-f]{4,12}")
KEY_DIGITS = 12
# Of an entry, where it has some.
METRICS = "metrics.json"


class ArtifactCache:
    """Entries of a folder, each a folder named ``<name>-<start of its key>``; any number of processes share it."""

    def __init__(self, root: Path):
        self.root = root
        remove_leftovers(root)

    def place(self, name: str, key: str) -> Path:
        return self.root / f"{name}-{key[:KEY_DIGITS]}"

    def find(self, name: str, key: str) -> Path | None:
        """Return the entry, or None if it is missing or damaged."""
        place = self.place(name, key)
        return place if lies_there(place) and damaged_file(place) is None else None

    def keep(self, name: str, key: str, fill: Callable[[Path], object]) -> Path:
        """Return the entry; where it is missing or damaged, ``fill`` makes it in an empty folder.

        Of processes that want the same entry one makes it, and the others wait for it.
        """
        with self.kept(name, key, fill) as folder:
            return folder

    @contextmanager
    def kept(
        self,
        name: str,
        key: str,
        fill: Callable[[Path], object],
        is_good: Callable[[Path], bool] = lambda folder: True,
    ) -> Iterator[Path]:
        """Give the entry as :meth:`keep` does, made again where it is not good; nobody replaces it in the block."""
        place = self.place(name, key)
        with locked(place, f"  {name}"):
            found = self.find(name, key)
            if not found or not is_good(found):
                if lies_there(place) and not found:
                    logger.warning(f"{damaged_file(place)} is not as it was written; {name} is run again")
                # What a power cut empties is found by its sum.
                with new_folder(
                    place, is_entry, lambda other: not found and damaged_file(other) is None, flushes=False
                ) as folder:
                    fill(folder)
                    write_sums(folder)
                self._remove_workplace(name, key)
            yield place

    def workplace(self, name: str, key: str) -> Path:
        """Return the folder in which unfinished work of an entry is kept, for ``fill`` of :meth:`keep` alone."""
        place = self._workplace(name, key)
        if lies_there(place) and not is_folder(place):
            move_aside(place)
        return place

    def clear(self) -> None:
        """Remove the entries and the work at them; what else lies in the folder stays."""
        for path in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            if is_folder(path) and (is_entry(path) or WORKPLACE.fullmatch(path.name)):
                with storage(path):
                    rmtree(path)

    def _workplace(self, name: str, key: str) -> Path:
        return self.root / f".work-{name}-{key[:KEY_DIGITS]}"

    def _remove_workplace(self, name: str, key: str) -> None:
        place = self._workplace(name, key)
        if is_folder(place):
            with storage(place):
                rmtree(place)


def write_sums(folder: Path) -> None:
    lines = "".join(f"{sha256_file(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    write_text(folder / SUMS, f"{HEAD}{sha256(lines.encode())}\n{lines}")


def damaged_file(place: Path) -> Path | None:
    """Return the first file of an entry that is changed or missing, or None.

    Other files in the folder, such as a file manager's ``.DS_Store``, are not edgekd's.
    """
    if not is_folder(place):
        return place
    recorded = _recorded(place / SUMS)
    if not recorded:
        return place / SUMS
    return next((place / name for name, digest in recorded.items() if _digest(place / name) != digest), None)


def is_entry(place: Path) -> bool:
    """Return whether the folder holds no file but those that its sums name, damaged or not."""
    recorded = _recorded(place / SUMS)
    return bool(recorded) and all(is_file(path) and path.name in {*recorded, SUMS} for path in place.iterdir())


def _recorded(sums: Path) -> dict[str, str]:
    """Digests by name; none where the file is missing or damaged."""
    try:
        text = sums.read_text(encoding="utf-8") if is_file(sums) else ""
    except (OSError, ValueError):
        return {}
    head, _, lines = text.partition("\n")
    if head.startswith(HEAD):
        if head.removeprefix(HEAD) != sha256(lines.encode()):
            return {}
    else:  # of an earlier version
        lines = text
    found = [LINE.fullmatch(line) for line in lines.splitlines()]
    return {each[2]: each[1] for each in found if each} if all(found) else {}


def _digest(path: Path) -> str | None:
    try:
        return sha256_file(path) if is_file(path) else None
    except OSError:
        return None
