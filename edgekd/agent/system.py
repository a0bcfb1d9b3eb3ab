"""The system that this runs on: its small files, its programs, and the memory that it gave this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

from edgekd.errors import DeviceError

ROOT = Path("/")  # of the system's files
LONGEST_TEXT = 200_000


def text_of(path: Path) -> str | None:
    """Return the text of a small file of the kernel's, or None if it cannot be read."""
    try:
        with path.open(errors="replace") as file:
            return file.read(LONGEST_TEXT).strip("\0\n ") or None
    except OSError:
        return None


def system_text(path: str) -> str | None:
    """Return the text of the system's file at ``path``, or None if it cannot be read."""
    return text_of(ROOT / path.lstrip("/"))


def system_files(folder: str, pattern: str) -> list[Path]:
    """Return what matches ``pattern`` in a folder of the system's, sorted."""
    return sorted((ROOT / folder.lstrip("/")).glob(pattern))


def output_of(words: Sequence[str], succeeds: bool = False) -> str | None:
    """Return what a program prints, or None if it does not run; with ``succeeds`` also if it ends with an error."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20
        )
        return done.stdout.decode(errors="replace")[:4000] if done.returncode == 0 or not succeeds else None
    except (OSError, subprocess.SubprocessError):
        return None


def must(words: Sequence[str]) -> None:
    """Run a program; raise DeviceError if it does not end with 0."""
    command = " ".join(words)
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DeviceError(f"{command} does not run there: {reason}") from error
    if done.returncode:
        raise DeviceError(f"{command} failed: {done.stdout.decode(errors='replace').strip()[-300:]}")


def peak_rss_bytes() -> int:
    """Return the largest resident memory that this process had."""
    # On Linux ru_maxrss survives exec: a child starts with its parent's peak, often a whole torch.
    if (peak := status_bytes("VmHWM")) is not None:
        return peak
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rss_bytes() -> int:
    """Return the resident memory of this process now; where the system does not tell, its peak so far."""
    now = status_bytes("VmRSS")
    return peak_rss_bytes() if now is None else now


def status_bytes(key: str) -> int | None:
    lines = (line.partition(":") for line in (system_text("/proc/self/status") or "").splitlines())
    found = next((value for name, _, value in lines if name == key), None)
    return None if found is None else int(found.split()[0]) * 1024
