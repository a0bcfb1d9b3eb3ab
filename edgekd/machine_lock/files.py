"""The two files of the lock: where they lie, and how they are opened, locked and made."""

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from edgekd.errors import StorageError

SETTING = "EDGEKD_MACHINE_LOCK"
OFF = "off"
FOLDERS = (Path("/run/lock"), Path("/tmp"), Path("/var/tmp"))
LOCK, QUEUE = "edgekd-machine.lock", "edgekd-machine.queue"
EXCLUSIVE, SHARED = fcntl.LOCK_EX, fcntl.LOCK_SH


def lock_folder() -> Path | None:
    """Return the folder of the lock's files, or None where the lock is off.

    Raises:
        StorageError: ``EDGEKD_MACHINE_LOCK`` names no folder.
        FileNotFoundError: it is not set, and no folder is common to all users.
    """
    given = os.environ.get(SETTING, "")
    if given == OFF:
        return None
    if not given:
        return _common_folder()
    if not Path(given).is_dir():
        raise StorageError(f"{SETTING}={given}: no such folder; make it, name another one, or set it to '{OFF}'")
    return Path(given)


def open_and_lock(path: Path, how: int) -> int | None:
    """Return a handle of ``path`` that holds it ``EXCLUSIVE`` or ``SHARED``, or None while others hold it.

    The file is made where it is missing.

    Raises:
        OSError: it cannot be made, opened or locked.
    """
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
            if _is_at(handle, path):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        # Somebody has cleared the folder.
        os.close(handle)


def unlock(handle: int) -> None:
    """Free what ``handle`` holds, and close it."""
    # Closing is not enough while a process that was forked just now has not closed its copy.
    fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def _common_folder() -> Path:
    for folder in FOLDERS:
        with suppress(OSError):
            mode = folder.lstat().st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_ISVTX and mode & stat.S_IWOTH:
                return folder
    raise FileNotFoundError(f"in none of {', '.join(map(str, FOLDERS))} may all users make files")


def _open(path: Path) -> int:
    # For reading: nothing is written, whatever another user has put there.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        _make(path)
        handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path.name} is no plain file")
    return handle


def _make(path: Path) -> None:
    # Complete at once: between making a file and opening it to all, the umask would keep others out.
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        os.fchmod(handle, 0o644)
        with suppress(FileExistsError):
            path.hardlink_to(name)
    finally:
        os.close(handle)
        Path(name).unlink()


def _is_at(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.lstat())
    return False
