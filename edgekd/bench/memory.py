"""Resident memory of this process."""

import sys
from pathlib import Path

import psutil

STATUS = Path("/proc/self/status")


def peak_rss_bytes() -> int:
    # On Linux ru_maxrss survives exec: a child starts with its parent's peak, often a whole torch.
    if STATUS.exists():
        return status_bytes("VmHWM")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rss_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def status_bytes(key: str) -> int:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[key].split()[0]) * 1024
