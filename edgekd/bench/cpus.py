"""The CPUs to measure on: whole cores before hyper-thread twins, and idle ones before busy ones."""

import os
import time
from pathlib import Path

import psutil

SYSFS = Path("/sys/devices/system/cpu")
GLANCE_S = 0.1


def quietest(count: int, seconds: float = GLANCE_S) -> list[int]:
    """Return the ``count`` least busy CPUs that this process may use, after watching for ``seconds``.

    Where there are fewer than ``count``, all are returned.
    """
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if count >= len(usable):
        return usable
    busy = busy_shares(seconds)

    def trouble(cpu: int) -> tuple[float, float, int]:
        # Rounded, so that a tick more or less does not decide and the same machine gives the same CPUs.
        core = max(round(busy.get(twin, 0.0), 1) for twin in siblings(cpu))
        return core, round(busy.get(cpu, 0.0), 1), cpu

    ranked = sorted(usable, key=trouble)
    taken: set[int] = set()
    whole_cores = []
    for cpu in ranked:
        if cpu not in taken:
            whole_cores.append(cpu)
            taken |= siblings(cpu)
    return sorted([*whole_cores, *(cpu for cpu in ranked if cpu not in whole_cores)][:count])


def busy_shares(seconds: float) -> dict[int, float]:
    before = psutil.cpu_times(percpu=True)
    time.sleep(seconds)
    after = psutil.cpu_times(percpu=True)
    # Readings come without the CPU's number, in its order, for those that are online.
    online = sorted(os.sched_getaffinity(0)) if len(after) == len(os.sched_getaffinity(0)) else range(len(after))
    return {cpu: share(start, end) for cpu, start, end in zip(online, before, after, strict=True)}


def share(start: "psutil._common.scputimes", end: "psutil._common.scputimes") -> float:
    total = sum(end) - sum(start)
    idle = end.idle - start.idle + getattr(end, "iowait", 0.0) - getattr(start, "iowait", 0.0)
    return 1 - idle / total if total > 0 else 0.0


def siblings(cpu: int, sysfs: Path = SYSFS) -> set[int]:
    """Return the CPUs that share a core with ``cpu``, itself included."""
    path = sysfs / f"cpu{cpu}/topology/thread_siblings_list"
    if not path.exists():
        return {cpu}
    found = {cpu}
    for part in path.read_text().strip().split(","):
        low, _, high = part.partition("-")
        found |= set(range(int(low), int(high or low) + 1))
    return found
