"""Checks that a bundle is as it was packed. Standard library only, and nothing from the bundle is ever run."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekd.bundle.manifest import ADVICE, FILE_NAME, Manifest
from edgekd.errors import BundleError

LARGEST_MANIFEST = 16 << 20
LARGEST_FILE = 2 << 30  # of protobuf, and so of an ONNX file with its weights inline
DEEPEST = 8
BLOCK = 1 << 20


@dataclass(frozen=True)
class Opened:
    """A verified bundle with the ``contents`` of some files by their paths: the very bytes that were hashed."""

    manifest: Manifest
    contents: Mapping[str, bytes]


def verify(folder: Path) -> Manifest:
    """Return the manifest of ``folder`` after checking that its files are those listed, all unchanged.

    Raises:
        BundleError: a file is changed, missing, extra, or no plain file; the message names it.
    """
    return opened(folder, lambda manifest: ()).manifest


def opened(folder: Path, keep: Callable[[Manifest], Collection[str]]) -> Opened:
    """Verify ``folder`` as :func:`verify` does, and return the contents of the paths that ``keep`` names with it.

    Every file is read once.
    """
    try:
        return verified(folder, keep)
    except OSError as error:
        raise BundleError(f"{error.filename or folder}: cannot be read ({error.strerror})") from error


def verified(folder: Path, keep: Callable[[Manifest], Collection[str]]) -> Opened:
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; give the folder that holds {FILE_NAME}")
    names: Counter[tuple[int, int]] = Counter()
    linked: dict[tuple[int, int], tuple[str, int]] = {}
    found = dict(walk(folder, "", names, linked))
    for inode, (path, links) in linked.items():
        if links > names[inode]:
            raise BundleError(f"{folder}: {path!r} is also a file outside, which can change it; copy the bundle anew")
    if FILE_NAME not in found:
        raise BundleError(f"{folder}: holds no {FILE_NAME}, so it is not a bundle")
    found_manifest = found.pop(FILE_NAME)
    if found_manifest > LARGEST_MANIFEST:
        raise BundleError(f"{folder}: {FILE_NAME} is larger than any bundle's; {ADVICE}")
    for path, size in found.items():
        if size > LARGEST_FILE:
            raise BundleError(f"{folder}: {path!r} has {size} bytes, more than any file of a bundle; {ADVICE}")
    manifest = Manifest.from_bytes(read(folder / FILE_NAME, found_manifest, keep=True)[1])
    kept = keep(manifest)
    listed = {file.path: file for file in manifest.files}
    for path in sorted(listed.keys() - found.keys()):
        raise BundleError(f"{folder}: {path} is missing; {ADVICE}")
    for path in sorted(found.keys() - listed.keys()):
        raise BundleError(f"{folder}: {path!r} is not in the manifest; remove it, or {ADVICE}")
    contents = {}
    for path, file in listed.items():
        digest, content = read(folder / path, file.bytes, path in kept) if found[path] == file.bytes else ("", b"")
        if digest != file.sha256:
            raise BundleError(f"{folder}: {path} was changed after packing; {ADVICE}")
        if path in kept:
            contents[path] = content
    return Opened(manifest, contents)


def read(path: Path, size: int, keep: bool) -> tuple[str, bytes]:
    """Return the sha256 of the plain file ``path``, of ``size`` bytes or fewer, and its content if ``keep``.

    Raises:
        BundleError: it has become something else, or is longer.
    """
    digest, parts = hashlib.sha256(), []
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BundleError(f"{path}: is a link or a device, not a file; {ADVICE}")
        left = size + 1
        while left > 0 and (block := file.read(min(left, BLOCK))):
            left -= len(block)
            digest.update(block)
            if keep:
                parts.append(block)
    if left <= 0:
        raise BundleError(f"{path}: was changed while it was read; {ADVICE}")
    return digest.hexdigest(), b"".join(parts)


def walk(
    folder: Path, above: str, names: "Counter[tuple[int, int]]", linked: dict[tuple[int, int], tuple[str, int]]
) -> Iterator[tuple[str, int]]:
    """Yield every file and empty folder with its size; files of several names are counted in ``names`` and ``linked``.

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
            yield from walk(entry, f"{name}/", names, linked)
        elif stat.S_ISREG(status.st_mode):
            if status.st_nlink > 1:
                inode = (status.st_dev, status.st_ino)
                names[inode] += 1
                linked[inode] = (name, status.st_nlink)
            yield name, status.st_size
        else:
            raise BundleError(f"{folder}: {entry.name!r} is a link or a device, not a file; {ADVICE}")
