"""The processors of this machine: which to measure on, and how much of them others take."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from edgekd.agent.system import system_files, system_text, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

SYSFS = "/sys/devices/system/cpu"
GLANCE_S = 0.1


def usable_cpus() -> list[int]:
    """Return the CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def pin_to(cpus: Sequence[int]) -> None:
    """Keep this process to ``cpus``; all others where there is none, or the system does not pin."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def pinned_to() -> list[int] | None:
    """Return the CPUs that this process is pinned to, or None where the system does not pin."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def quietest(count: int, seconds: float = GLANCE_S) -> list[int]:
    """Return ``count`` CPUs to measure on, after watching for ``seconds``; all if there are fewer.

    The fastest cores come first, whole cores before hyper-thread twins, and of these the least busy.
    """
    usable = usable_cpus()
    if count >= len(usable):
        return usable
    busy = busy_shares(seconds)

    def trouble(cpu: int) -> tuple[int, float, float, int]:
        # Rounded, so that a tick more or less does not decide and the same machine gives the same CPUs.
        core = max(round(busy.get(twin, 0.0), 1) for twin in siblings(cpu))
        return -top_frequency(cpu), core, round(busy.get(cpu, 0.0), 1), cpu

    ranked = sorted(usable, key=trouble)
    taken: set[int] = set()
    whole_cores = []
    for cpu in ranked:
        if cpu not in taken:
            whole_cores.append(cpu)
            taken |= siblings(cpu)
    return sorted([*whole_cores, *(cpu for cpu in ranked if cpu not in whole_cores)][:count])


def busy_shares(seconds: float) -> dict[int, float]:
    before = ticks()
    time.sleep(seconds)
    return {cpu: (busy - before[cpu][1]) / max(total - before[cpu][0], 1)
            for cpu, (total, busy) in ticks().items() if cpu in before}  # fmt: skip


def siblings(cpu: int) -> set[int]:
    """Return the CPUs that share a core with ``cpu``, itself included."""
    found = {cpu}
    for part in (system_text(f"{SYSFS}/cpu{cpu}/topology/thread_siblings_list") or str(cpu)).split(","):
        low, _, high = part.partition("-")
        found |= set(range(int(low), int(high or low) + 1))
    return found


def top_frequency(cpu: int) -> int:
    return int(system_text(f"{SYSFS}/cpu{cpu}/cpufreq/cpuinfo_max_freq") or 0)


def governor() -> str | None:
    """Return the frequency governors in use, joined by commas, or None if the kernel shows none."""
    names = {text_of(path) for path in system_files(SYSFS, "cpu[0-9]*/cpufreq/scaling_governor")}
    return ",".join(sorted(name for name in names if name)) or None


def clock_khz(cpus: Sequence[int]) -> int | None:
    """Return the lowest clock rate that the CPUs have now, in kHz, or None if the kernel shows none.

    The slowest CPU holds up the threads on the others.
    """
    rates = (system_text(f"{SYSFS}/cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus)
    return min((int(rate) for rate in rates if rate and rate.isdigit()), default=None)


def throttle_events() -> int:
    """Return how often the processor has slowed itself for heat since boot, as far as it counts that."""
    counts = (text_of(path) for path in system_files(SYSFS, "cpu[0-9]*/thermal_throttle/*_throttle_count"))
    return sum(int(count) for count in counts if count and count.isdigit())


def ticks() -> dict[int, tuple[int, int]]:
    """Return for each CPU all clock ticks since boot and those in which it was busy."""
    found: dict[int, tuple[int, int]] = {}
    for line in (system_text("/proc/stat") or "").splitlines():
        words = line.split()
        if words and words[0].startswith("cpu") and words[0][3:].isdigit():
            # Linux counts a guest's time in user and nice as well; what the hypervisor took is busy.
            counts = [int(word) for word in words[1:9]]
            found[int(words[0][3:])] = sum(counts), sum(counts) - counts[3] - counts[4]
    return found


def process_ticks(pid: int) -> int:
    # The name in brackets may hold spaces and brackets itself.
    words = (system_text(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return int(words[11]) + int(words[12]) if len(words) > 12 else 0


class Neighbours:
    """A watch on how much of the machine others use: processes other than this one and ``pids``.

    With ``cpus``, to which ``pids`` are pinned, these are watched apart: on a large machine one process on the CPU
    that is measured on is a small share of the whole.
    """

    def __init__(self, pids: Sequence[int] = (), cpus: Sequence[int] = ()) -> None:
        self.ours, self.cpus = [os.getpid(), *pids], cpus
        self.started = self._now()

    def _now(self) -> list[list[int]]:
        each, own = ticks(), sum(map(process_ticks, self.ours))
        places = [list(each.values()), [each[cpu] for cpu in self.cpus if cpu in each]]
        return [[sum(total for total, _ in place), sum(busy for _, busy in place) - own] for place in places]

    def taken(self) -> list[list[int]]:
        """Return ticks in all and those that others used, of the machine and of ``cpus``, since this was made."""
        return [[now - then for then, now in zip(*pair)] for pair in zip(self.started, self._now())]  # noqa: B905
