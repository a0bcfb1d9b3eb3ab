"""Whether a bundle is what was packed. Standard library only, and nothing from the bundle is ever run."""

import stat
from collections.abc import Iterator
from pathlib import Path

from edgekd.bundle.manifest import ADVICE, FILE_NAME, Manifest
from edgekd.errors import BundleError
from edgekd.files import sha256_file

LARGEST_MANIFEST = 16 << 20
LARGEST_FILE = 2 << 30  # of protobuf, and so of an ONNX file with its weights inline
DEEPEST = 8


def verify(folder: Path) -> Manifest:
    """The manifest of ``folder``, after every file in it was found listed and every listed file unchanged.

    Raises :class:`BundleError` naming the file for anything changed, missing, extra, or no plain file.
    """
    try:
        return verified(folder)
    except OSError as error:
        raise BundleError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error


def verified(folder: Path) -> Manifest:
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; give the folder that holds {FILE_NAME}")
    found = dict(walk(folder, ""))
    if FILE_NAME not in found:
        raise BundleError(f"{folder}: holds no {FILE_NAME}, so it is not a bundle")
    if found.pop(FILE_NAME) > LARGEST_MANIFEST:
        raise BundleError(f"{folder}: {FILE_NAME} is larger than any bundle's; {ADVICE}")
    for path, size in found.items():
        if size > LARGEST_FILE:
            raise BundleError(f"{folder}: {path!r} has {size} bytes, more than any file of a bundle; {ADVICE}")
    manifest = Manifest.from_bytes((folder / FILE_NAME).read_bytes())
    listed = {file.path: file for file in manifest.files}
    for path in sorted(listed.keys() - found.keys()):
        raise BundleError(f"{folder}: {path} is missing; {ADVICE}")
    for path in sorted(found.keys() - listed.keys()):
        raise BundleError(f"{folder}: {path!r} is not in the manifest; remove it, or {ADVICE}")
    for path, file in listed.items():
        if found[path] != file.bytes or sha256_file(folder / path) != file.sha256:
            raise BundleError(f"{folder}: {path} was changed after packing; {ADVICE}")
    return manifest


def walk(folder: Path, above: str) -> Iterator[tuple[str, int]]:
    """Every file and empty folder with its size.

    Links are refused, not followed: what they point at could change at any time.
    """
    if above.count("/") > DEEPEST:
        raise BundleError(f"{folder}: lies deeper than any folder of a bundle; {ADVICE}")
    inside = sorted(folder.iterdir())
    if above and not inside:
        yield above, 0
    for entry in inside:
        name, status = f"{above}{entry.name}", entry.lstat()
        if stat.S_ISDIR(status.st_mode):
            yield from walk(entry, f"{name}/")
        elif stat.S_ISREG(status.st_mode):
            yield name, status.st_size
        else:
            raise BundleError(f"{folder}: {entry.name!r} is a link or a device, not a file; {ADVICE}")
