"""Scratch folders and lock files, each locked while its process lives.

Whoever finds such a name and can lock it knows that its owner is dead. A process id would not tell: it is given out
again, and it means nothing in another container or on another machine that shares the disk.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".edgekd-tmp-"
FOLDER = re.compile(r"\.edgekd-tmp-[0-9a-f]{16}")
LOCK_FILE = re.compile(r"\.edgekd-tmp-.+\.lock")
OWNER = ".owner"
# In a scratch folder: what something else is about to take the place of.
REPLACED = ".replaced"
# What a scratch folder's lock file holds: a folder of another program that only has such a name is left alone.
SIGNED = b"edgekd\n"
# File systems without locks: the owner cannot be known there, so nothing is removed.
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF}

# Of this process's scratch folders and lock files.
_handles: dict[Path, int] = {}


def make_scratch(parent: Path) -> Path:
    """Return a new folder in ``parent`` that is this process's own until :func:`remove_scratch`.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        folder = parent / f"{PREFIX}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            handle = _open_and_lock(folder / OWNER)
            if handle is not None:
                _handles[folder] = handle
                os.write(handle, SIGNED)
                return folder
        except FileNotFoundError:  # cleared away by another process before it was locked
            continue
        except OSError:
            remove_scratch(folder)
            _remove(folder)
            raise


def remove_scratch(folder: Path) -> None:
    handle = _handles.pop(folder, None)
    if handle is not None:
        _remove(folder)
        os.close(handle)


def take_out(path: Path, scratch: Path) -> None:
    """Move ``path`` into the scratch folder next to it; it goes back if that is removed while nothing took its place.

    Raises:
        OSError: it cannot be moved.
    """
    (scratch / REPLACED).mkdir()
    path.rename(scratch / REPLACED / path.name)


def remove_all_scratch() -> None:
    """Remove every scratch folder and lock file of this process, for one that leaves without ending its blocks."""
    for path in list(_handles):
        # Still held: what this process is doing ends with it.
        if _handles.pop(path, None) is not None:
            _remove(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def hold(path: Path, waits: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the lock file ``path`` in the block.

    Args:
        waits: called once where another process holds it, before waiting for that.

    Raises:
        BlockingIOError: another process holds it, and ``waits`` was left out.
        OSError: the file cannot be written.
    """
    handle = _open_and_lock(path)
    if handle is None:
        if waits is None:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), str(path))
        waits()
        handle = _open_and_lock(path, wait=True)
    assert handle is not None
    if LOCK_FILE.fullmatch(path.name) and not os.fstat(handle).st_size:
        _handles[path] = handle
    try:
        yield
    finally:
        if _handles.pop(path, None) is not None:
            path.unlink(missing_ok=True)
        os.close(handle)


def lock_of(place: Path) -> Path:
    """Return the lock file of ``place``; it is removed when nobody holds it."""
    return place.with_name(f"{PREFIX}{place.name}.lock")


def remove_leftovers(folder: Path) -> None:
    """Remove what ended processes left in ``folder``, but not what a living one holds."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                with suppress(OSError):
                    _remove_if_left(entry)


def _remove_if_left(entry: os.DirEntry[str]) -> None:
    path, about = Path(entry.path), entry.stat(follow_symlinks=False)
    if about.st_uid != os.geteuid():
        return
    if stat.S_ISDIR(about.st_mode) and FOLDER.fullmatch(entry.name):
        _remove_left_folder(path)
    elif stat.S_ISREG(about.st_mode) and LOCK_FILE.fullmatch(entry.name) and not about.st_size:
        with _locked_if_left(path):
            path.unlink()


def _remove_left_folder(folder: Path) -> None:
    try:
        with _locked_if_left(folder / OWNER) as content:
            if content == SIGNED:
                _remove(folder)
            elif not content:
                (folder / OWNER).unlink()
    except FileNotFoundError:
        pass
    # Of one that was killed between two steps; refused where anything is in it.
    folder.rmdir()


@contextmanager
def _locked_if_left(path: Path) -> Iterator[bytes]:
    """Give the start of a lock file that nobody holds; raises :class:`OSError` if somebody does."""
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not stat.S_ISREG(os.fstat(handle).st_mode) or not _is_at(handle, path):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
        yield os.read(handle, len(SIGNED) + 1)
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    """The lock file goes last: a kill on the way leaves what is still known as edgekd's."""
    with suppress(OSError):
        _put_back(folder)
        for path in folder.iterdir():
            if path.name == OWNER:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if all(path.name == OWNER for path in folder.iterdir()):
            (folder / OWNER).unlink(missing_ok=True)
            folder.rmdir()


def _put_back(folder: Path) -> None:
    replaced = folder / REPLACED
    for path in list(replaced.iterdir()) if replaced.is_dir() else ():
        place = folder.parent / path.name
        if not os.path.lexists(place):
            path.rename(place)


def _open_and_lock(path: Path, wait: bool = False) -> int | None:
    """The handle of ``path``, which is made where it is missing; None where another process holds it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(handle)
                raise
        # Who held it before has removed it.
        if _is_at(handle, path):
            return handle
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.lstat())
    return False


def _forget() -> None:
    """A forked child owns nothing; an open handle would keep the lock beyond its owner's life."""
    for handle in _handles.values():
        os.close(handle)
    _handles.clear()


os.register_at_fork(after_in_child=_forget)
