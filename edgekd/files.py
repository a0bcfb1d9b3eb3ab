"""Files written whole or not at all, and the canonical bytes that hashes are taken of."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError, StorageError

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


def read_object(path: Path, advice: str) -> dict[str, Any]:
    """The JSON object that ``path`` holds; raises :class:`EdgekdError` that ends in ``advice`` where it holds none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgekdError(f"cannot read {path}: {error.strerror}; {advice}") from error
    except ValueError as error:
        raise EdgekdError(f"{path} is no JSON: {error}; {advice}, or take it again from where it was made") from error
    if not isinstance(document, dict):
        raise EdgekdError(f"{path} holds no JSON object; {advice}")
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
