"""Scheduling of the threads of a measured process: what the kernel counts of them, and what may be asked of it."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, process_time_ns, sleep, thread_time_ns
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

TASKS = Path("/proc/self/task")
WORKING = 0.02
REST_S, GLANCE_S = 0.1, 0.001
REAL_TIME_PRIORITY = 1


class Waiting:
    """The main thread's time off the processor, since this was made."""

    def __init__(self) -> None:
        self._voluntary, self._delay, self._cpu = voluntary_switches(), run_delay(threading.get_native_id()), 0
        # Last: what the kernel takes from here on is neither in the wall time nor in this.
        self._cpu = thread_time_ns()

    def lost_ns(self, wall_ns: int) -> int:
        """Return the part of ``wall_ns`` in which others ran in this thread's place.

        A thread that never waits of its own accord was not running for one reason alone. Of one that does, the kernel
        counts how long it waited for a processor. Where it counts neither, the thread is taken not to wait.
        """
        off = max(0, wall_ns - (thread_time_ns() - self._cpu))
        if voluntary_switches() == self._voluntary:
            return off
        return min(off, run_delay(threading.get_native_id()) - self._delay)


def voluntary_switches() -> int:
    if resource is None or not hasattr(resource, "RUSAGE_THREAD"):
        return -1
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def involuntary_switches() -> int:
    """Return how often a thread of this process was preempted."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if resource is not None else 0


def run_delay(thread: int) -> int:
    """Return the nanoseconds that ``thread`` was ready to run and waited for a processor; 0 if nobody counts them."""
    return schedule(thread)[1]


def schedule(thread: int) -> tuple[int, int]:
    try:
        words = (TASKS / str(thread) / "schedstat").read_bytes().split()
        return int(words[0]), int(words[1])
    except (OSError, ValueError, IndexError):  # it has ended, or this is not Linux
        return 0, 0


class ThreadTimes(NamedTuple):
    """Hold the nanoseconds that threads of this process ran: ``each`` that the kernel shows, and all but this one."""

    each: dict[int, int]
    others: int


def threads_now() -> ThreadTimes:
    """Return the nanoseconds that the threads of this process have run."""
    others = process_time_ns() - thread_time_ns()
    try:
        entries = os.listdir(TASKS)  # noqa: PTH208 (a third of the time)
    except OSError:
        entries = []
    return ThreadTimes({int(entry): schedule(int(entry))[0] for entry in entries}, others)


class Pool:
    """The runtime's threads beside the main one.

    Args:
        before: :func:`threads_now` before a warm-up that took ``wall_ns``: threads that worked in it are the pool.
        cpus: the CPUs that this process is pinned to.

    Attributes:
        is_hidden: there are such threads, and the system says of none how long it ran and waited.
    """

    def __init__(self, before: ThreadTimes, wall_ns: int, cpus: Sequence[int] = ()):
        main, now, least = threading.get_native_id(), threads_now(), WORKING * wall_ns
        worked = {thread: ns - before.each.get(thread, 0) for thread, ns in now.each.items() if thread != main}
        self.threads = [thread for thread, ns in sorted(worked.items()) if ns > least]
        self.is_hidden = not schedule(main)[0] and now.others - before.others > least
        self.cpus = list(cpus)
        self.is_privileged = set_policy([main], "SCHED_RR") and set_policy([main], "SCHED_OTHER") and may_leave_idle()

    @property
    def size(self) -> int:
        """Return the number of threads; 1 stands for those that are hidden."""
        return len(self.threads) or int(self.is_hidden)

    def waited_ns(self) -> int:
        """Return how long the pool's threads have been ready to run and waited for a processor, all together."""
        return sum(map(run_delay, self.threads))

    @contextmanager
    def at_work(self, real_time: bool = False, alone: bool = True) -> Iterator[bool]:
        """Let the pool's threads run in the block; yield whether they do at real-time priority, if that is asked for.

        With ``real_time`` all threads get it, one on each CPU, where the kernel permits that: ordinary processes then
        wait, however many they are, and the kernel leaves them a twentieth of the time. Unless the model is ``alone``,
        the pool's threads are out of the next one's way afterwards: they spin on for some time after an inference.
        """
        everybody = [threading.get_native_id(), *self.threads]
        pinned = real_time and self.is_privileged and len(everybody) == len(self.cpus) > 1
        if self.is_privileged:
            set_policy(everybody, "SCHED_RR" if real_time else "SCHED_OTHER")
        if pinned:
            for thread, cpu in zip(everybody, self.cpus):  # noqa: B905 (Python 3.8)
                pin(thread, [cpu])
        try:
            yield real_time and self.is_privileged
        finally:
            if pinned:
                for thread in everybody:
                    pin(thread, self.cpus)
            if self.is_privileged:
                # An idle thread runs when nobody else would, and becomes an ordinary one again with privileges alone.
                set_policy(self.threads, "SCHED_OTHER" if alone else "SCHED_IDLE")
                set_policy(everybody[:1], "SCHED_OTHER")
            elif not alone:
                self._rest()

    def _rest(self, limit_s: float = REST_S) -> None:
        deadline = perf_counter() + limit_s
        while any(map(is_running, self.threads)) and perf_counter() < deadline:
            sleep(GLANCE_S)


def is_running(thread: int) -> bool:
    try:
        return (TASKS / str(thread) / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"R"
    except (OSError, IndexError):
        return False


def pin(thread: int, cpus: Sequence[int]) -> None:
    with suppress(OSError):  # the thread has ended
        os.sched_setaffinity(thread, cpus)


def may_leave_idle() -> bool:
    """Tell whether an idle thread may become an ordinary one again, which takes another privilege than real time."""
    end = threading.Event()
    # It sleeps meanwhile: nobody waits for it if it is to stay idle.
    thread = threading.Thread(target=end.wait, daemon=True)
    thread.start()
    tried = [thread.native_id or 0]
    permitted = set_policy(tried, "SCHED_IDLE") and set_policy(tried, "SCHED_OTHER")
    end.set()
    return permitted


def set_policy(threads: Sequence[int], policy: str) -> bool:
    """Give ``threads`` a scheduling policy; return whether the kernel permits it."""
    if not hasattr(os, "sched_setscheduler"):
        return False
    parameters = os.sched_param(REAL_TIME_PRIORITY if policy == "SCHED_RR" else 0)
    try:
        for thread in threads:
            with suppress(ProcessLookupError):
                os.sched_setscheduler(thread, getattr(os, policy), parameters)
    except OSError:
        return False
    return True
