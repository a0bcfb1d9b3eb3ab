"""The processes that hold a lock file, as the system names them."""

from contextlib import suppress
from pathlib import Path

from edgekd.children import START

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
    pid = starter(found[0])
    more = f" and {len(found) - 1} more" if found[1:] else ""
    command = command_of(pid)
    named = f"'{command}'" if command else "a process that is ending"
    return f"{named} (pid {pid}){more}"


def starter(pid: int) -> int:
    """Return the process that a user started: ``pid``, or whoever started it as a part of its own work."""
    while START in _words_of(pid) and (parent := _parent_of(pid)) > 1:
        pid = parent
    return pid


def command_of(pid: int) -> str:
    """Return the command line of a process, without an interpreter and code; empty if it is ending."""
    words = _words_of(pid)
    if not words:
        return ""
    if Path(words[0]).name.startswith("python") and len(words) > 1:
        if words[1] == "-c":
            return "edgekd" if START in words else f"{Path(words[0]).name} -c …"
        del words[0]
        if words[0] == "-m" and len(words) > 1:
            del words[0]
    command = " ".join(" ".join([Path(words[0]).name, *words[1:]]).split())
    return command if len(command) <= LONGEST else f"{command[: LONGEST - 1]}…"


def _words_of(pid: int) -> list[str]:
    # An ending process has let go of its memory, and so of its command line, before its locks.
    try:
        said = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0")
    except OSError:
        return []
    return said.split("\0") if said else []


def _parent_of(pid: int) -> int:
    try:
        # The name before it, in parentheses, may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0
