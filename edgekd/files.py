"""Atomic writing of files and folders, checked reading, and the canonical bytes that are hashed."""

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from edgekd import strict_json
from edgekd.errors import EdgekdError, StorageError
from edgekd.log import get_logger
from edgekd.scratch import hold, lock_of, make_scratch, remove_leftovers, remove_scratch, take_out

logger = get_logger(__name__)

ASIDE = "edgekd-aside"
CONTENT = "content"

LARGEST_DOCUMENT = 64 << 20

# Of Linux: <fcntl.h> and <linux/fs.h>.
AT_FDCWD, RENAME_EXCHANGE = -100, 2

ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, or choose another folder with --out, and run the command again",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another folder with --out",
    errno.EROFS: "the file system is read-only: choose another folder with --out",
    errno.EACCES: "no permission to write there: choose another folder with --out",
    errno.EPERM: "no permission to write there: choose another folder with --out",
    errno.EEXIST: "a part of the path is a file, not a folder: choose another folder with --out",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another folder with --out",
    errno.EISDIR: "a folder has the file's name: move it away, or choose another folder with --out",
    errno.ELOOP: "it is a link: move it away, or choose another folder with --out",
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return the error for a failed write to ``path``, with advice on its cause."""
    reason = ADVICE.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"cannot write {path}: {reason}")


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn errors of the file system about ``path`` into a :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def make_folder(path: Path) -> Path:
    """Make ``path`` and its parents where they are missing, and return it."""
    with storage(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def folder_to_fill(path: Path) -> Iterator[Path]:
    """Make ``path`` and its parents; if the block fails, those of them that are still empty are removed."""
    made = [each for each in (path, *path.parents) if not lies_there(each)]
    make_folder(path)
    try:
        yield path
    except BaseException:
        with suppress(OSError):  # one that is not empty stays
            for each in made:
                each.rmdir()
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a scratch file, flush to the disk, and rename: a reader sees all of it or the old file."""
    make_folder(path.parent)
    with _scratch(path.parent, path) as aside, storage(path):
        new = aside / CONTENT
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(0o644)
        new.replace(path)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


@contextmanager
def new_folder(
    path: Path,
    is_ours: Callable[[Path], bool],
    stays: Callable[[Path], bool] = lambda folder: False,
    flushes: bool = True,
) -> Iterator[Path]:
    """Make a folder to fill, renamed to ``path`` if the block succeeds and removed if it fails.

    A kill or a power cut leaves the new folder or the old one at ``path``. Where two cannot be exchanged, it may leave
    none; then the next process that writes next to ``path`` puts the old one back.

    Args:
        is_ours: tells whether a folder that is at ``path`` by then may be replaced; anything else is moved aside.
        stays: tells whether it is kept and the new one removed, because another process was faster.
        flushes: False leaves files in the new folder to the disk's own time, where a reader finds out that a power cut
            emptied them.
    """
    make_folder(path.parent)
    with _scratch(path.parent, path) as aside:
        folder = aside / CONTENT
        with storage(path):
            folder.mkdir()
        yield folder
        with storage(path):
            if lies_there(path) and stays(path):
                return
            folder.chmod(0o755)
            if flushes:
                flush_folder(folder)
            put_in_place(folder, path, is_ours, aside)


def flush_folder(folder: Path) -> None:
    """Write a folder through to the disk, which else may have the names of its files before their contents."""
    for place, _, files in os.walk(folder, topdown=False):
        for each in (*(Path(place, name) for name in files), Path(place)):
            if is_file(each) or is_folder(each):
                _flush(each)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems flush no folders.
        if error.errno != errno.EINVAL or is_file(path):
            raise
    finally:
        os.close(handle)


def put_in_place(folder: Path, path: Path, is_ours: Callable[[Path], bool], scratch_folder: Path) -> None:
    """Rename ``folder`` in ``scratch_folder`` to ``path``.

    An empty folder or edgekd's own that is there goes into ``scratch_folder``, anything else aside.
    """
    if lies_there(path):
        if is_folder(path) and (not any(path.iterdir()) or is_ours(path)):
            if exchange(folder, path):
                return
            take_out(path, scratch_folder)
        else:
            move_aside(path)
    folder.rename(path)


def exchange(one: Path, other: Path) -> bool:
    """Exchange what two paths lead to, in one step; return False where the system or the file system cannot."""
    import ctypes

    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)


def move_aside(path: Path) -> None:
    """Move ``path`` into the folder ``edgekd-aside`` next to it, with a warning; nothing is deleted.

    Raises:
        StorageError: it cannot be moved.
    """
    folder = path.with_name(ASIDE)
    with storage(path):
        folder.mkdir(exist_ok=True)
        names = (path.name if number == 1 else f"{path.name}-{number}" for number in count(1))
        place = next(folder / name for name in names if not lies_there(folder / name))
        path.rename(place)
    logger.warning(f"{path} is not as edgekd made it, or is not edgekd's: moved to {place}")


def lies_there(path: Path) -> bool:
    """Return whether anything has this name, even a broken link."""
    return os.path.lexists(path)


def is_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder and not a link to one."""
    return path.is_dir() and not path.is_symlink()


def is_file(path: Path) -> bool:
    """Return whether ``path`` is a plain file: no link to one, and no pipe, which has no end."""
    return path.is_file() and not path.is_symlink()


@contextmanager
def locked(place: Path, what: str) -> Iterator[None]:
    """Let one process at a time make ``place``; others log that they wait for ``what``.

    Raises:
        StorageError: the lock file cannot be written next to ``place``.
    """
    make_folder(place.parent)
    with ExitStack() as stack:
        with storage(place):
            waits = f"{what}: another process is at work on it; waiting for what it makes"
            stack.enter_context(hold(lock_of(place), lambda: logger.info(waits)))
        yield


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder among the system's temporary files, removed when the block ends.

    If the process is killed before, the next one that makes such a folder removes it.
    """
    parent = Path(tempfile.gettempdir())
    with _scratch(parent, parent) as folder:
        yield folder


_remove_leftovers_once = cache(remove_leftovers)


@contextmanager
def _scratch(parent: Path, for_: Path) -> Iterator[Path]:
    """A scratch folder; what the block raises is none of the disk's refusals about ``for_``."""
    _remove_leftovers_once(parent)
    with storage(for_):
        folder = make_scratch(parent)
    try:
        yield folder
    finally:
        remove_scratch(folder)


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
    """Return what a path of this mode leads to, in words."""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_object(path: Path, advice: str, kind: type[EdgekdError] = EdgekdError) -> dict[str, Any]:
    """Read the JSON object in ``path``, as strictly as :func:`edgekd.strict_json.parse`.

    Raises:
        kind: ``path`` cannot be read or holds no such object; the message ends with ``advice``.
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
    """Return the canonical JSON of ``value``: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
