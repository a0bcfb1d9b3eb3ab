"""Files written whole or not at all, and the canonical bytes that hashes are taken of."""

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekd import strict_json
from edgekd.errors import EdgekdError, StorageError

LARGEST_DOCUMENT = 64 << 20

ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, or choose another folder with --out, and run the command again",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another folder with --out",
    errno.EROFS: "the file system is read-only: choose another folder with --out",
    errno.EACCES: "no permission to write there: choose another folder with --out",
    errno.EPERM: "no permission to write there: choose another folder with --out",
    errno.EEXIST: "a part of the path is a file, not a folder: choose another folder with --out",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another folder with --out",
}


def storage_error(error: OSError, path: Path) -> StorageError:
    reason = ADVICE.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"cannot write {path}: {reason}")


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turns the disk's refusals about ``path`` into a :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def make_folder(path: Path) -> Path:
    with storage(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Writes beside ``path``, flushes to the disk, and renames: a reader sees all of it or the old file."""
    make_folder(path.parent)
    with storage(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to fill, renamed into place when the block ends well, removed when it does not."""
    make_folder(path.parent)
    with storage(path):
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield aside
        with storage(path):
            aside.chmod(0o755)
            if path.exists():
                shutil.rmtree(path)
            aside.rename(path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed writer left aside in ``folder``."""
    for path in folder.glob(".*.????????"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def require_file(path: Path, kind: type[EdgekdError] = EdgekdError) -> Path:
    """Return ``path`` if it leads to a plain file.

    A folder is refused, and so are a FIFO, a device and a socket: opening or reading these may wait for ever.

    Raises:
        kind: ``path`` leads to nothing, to something else, or may not be looked at.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise kind(f"cannot read {path}: {reason_of(error)}") from error
    if not stat.S_ISREG(mode):
        raise kind(f"cannot read {path}: it is {kind_of(mode)}, not a file")
    return path


def read_content(path: Path, kind: type[EdgekdError] = EdgekdError, limit: int = LARGEST_DOCUMENT) -> bytes:
    """Return the bytes of the plain file ``path``, which are read once.

    Raises:
        kind: ``path`` is no plain file, cannot be read, or holds more than ``limit`` bytes.
    """
    require_file(path, kind)
    try:
        # What lies there may have become a FIFO since.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise kind(f"cannot read {path}: it is not a file any more")
            if status.st_size > limit:
                raise kind(f"cannot read {path}: its {status.st_size:,} bytes are more than such a file has")
            content = file.read(status.st_size + 1)
    except OSError as error:
        raise kind(f"cannot read {path}: {reason_of(error)}") from error
    if len(content) != status.st_size:
        raise kind(f"cannot read {path}: it changed while it was read")
    return content


def reason_of(error: OSError | ValueError) -> str:
    """Return why the system refused, in its own words, for the end of a message."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def kind_of(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_object(path: Path, advice: str, kind: type[EdgekdError] = EdgekdError) -> dict[str, Any]:
    """Return the JSON object that ``path`` holds, as strictly as :func:`edgekd.strict_json.parse` reads it.

    Raises:
        kind: ``path`` cannot be read or holds none; the message ends in ``advice``.
    """
    try:
        content = read_content(path, kind)
    except EdgekdError as error:
        raise kind(f"{error}; {advice}") from error
    try:
        document = strict_json.parse(content)
    except ValueError as error:
        raise kind(f"{path} is no JSON: {error}; {advice}, or take it again from where it was made") from error
    if not isinstance(document, dict):
        raise kind(f"{path} holds no JSON object; {advice}")
    return document


def canonical_json(value: Any) -> bytes:
    """The one JSON text of ``value``: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
