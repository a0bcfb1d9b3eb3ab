"""Finished work on disk, found again by its key and used only when every byte of it is as it was written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from edgekd.files import new_folder, remove_leftovers, sha256_file, storage, write_text
from edgekd.progress import say

# The format of coreutils, so that `sha256sum -c SHA256SUMS` checks an entry too.
SUMS = "SHA256SUMS"
KEY_DIGITS = 12


class Store:
    """Entries of a folder, each a folder named ``<name>-<start of its key>``."""

    def __init__(self, root: Path):
        self.root = root
        if root.is_dir():
            with storage(root):
                remove_leftovers(root)

    def place(self, name: str, key: str) -> Path:
        return self.root / f"{name}-{key[:KEY_DIGITS]}"

    def find(self, name: str, key: str) -> Path | None:
        """The entry, or None where there is none; a damaged one is said and removed."""
        place = self.place(name, key)
        if not place.exists():
            return None
        damaged = damaged_file(place)
        if damaged is None:
            return place
        say(f"warning: {damaged} is not as it was written; {name} is run again")
        with storage(place):
            rmtree(place)
        return None

    @contextmanager
    def new(self, name: str, key: str) -> Iterator[Path]:
        """An empty folder to fill; it becomes the entry, whole, when the block ends well."""
        with new_folder(self.place(name, key)) as folder:
            yield folder
            files = sorted(path for path in folder.iterdir())
            write_text(folder / SUMS, "".join(f"{sha256_file(path)}  {path.name}\n" for path in files))

    def workplace(self, name: str, key: str) -> Path:
        """Where unfinished work of an entry keeps what it needs to go on."""
        return self.root / f".work-{name}-{key[:KEY_DIGITS]}"


def damaged_file(place: Path) -> Path | None:
    """The first file of an entry that is not as it was written, or is missing; None where all are."""
    try:
        lines = (place / SUMS).read_text().splitlines()
        recorded = {name: digest for digest, name in (line.split("  ") for line in lines)}
    except (OSError, ValueError):
        return place / SUMS
    for path in sorted(place.iterdir()):
        if path.name != SUMS and (path.is_dir() or recorded.pop(path.name, None) != sha256_file(path)):
            return path
    return place / next(iter(recorded)) if recorded else None
