"""The processes that hold a lock file, as the system names them."""

from contextlib import suppress
from pathlib import Path

LOCKS = Path("/proc/locks")
LONGEST = 80


def holders(path: Path) -> list[int]:
    """Return the ids of the processes that hold ``path``; those in other containers have none here.

    Only Linux tells.
    """
    with suppress(OSError):
        # By the inode alone: on some file systems the device there is not the one of stat.
        inode = str(path.stat().st_ino)
        fields = [line.split() for line in LOCKS.read_text().splitlines()]
        found = {int(each[4]) for each in fields if each[1] == "FLOCK" and each[5].rpartition(":")[2] == inode}
        return sorted(pid for pid in found if pid > 0)
    return []


def described(path: Path) -> str:
    """Return the command and the id of a process that holds ``path``, and how many others do."""
    found = holders(path)
    if not found:
        return "another process"
    more = f" and {len(found) - 1} more" if found[1:] else ""
    return f"'{command_of(found[0])}' (pid {found[0]}){more}"


def command_of(pid: int) -> str:
    """Return the command line of a process, without an interpreter before it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return "a process that has ended"
    if Path(words[0]).name.startswith("python") and len(words) > 1:
        del words[0]
        if words[0] == "-m" and len(words) > 1:
            del words[0]
    command = " ".join(" ".join([Path(words[0]).name, *words[1:]]).split())
    return command if len(command) <= LONGEST else f"{command[: LONGEST - 1]}…"
