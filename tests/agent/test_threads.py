"""Threads of a measured process, as systems show them that count much, little, or nothing."""

import hashlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter_ns
from types import SimpleNamespace

import pytest

from edgekd.agent import threads
from edgekd.agent.blocks import TimedBlock, run_block
from edgekd.agent.clock import collect
from edgekd.agent.threads import Pool, threads_now

counted = pytest.mark.skipif(
    not threads.schedule(threading.get_native_id())[0], reason="this kernel does not count what threads wait"
)


def work() -> None:
    """A millisecond or some of them, without the interpreter's lock."""
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 4000)


@pytest.fixture
def in_another_thread() -> Iterator[Callable[[], None]]:
    """The main thread waits for a pool of one."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda: pool.submit(work).result()


def block_of(call: Callable[[], None]) -> tuple[Pool, TimedBlock]:
    before, started = threads_now(), perf_counter_ns()
    collect(call, 0, 10)
    pool = Pool(before, perf_counter_ns() - started)
    return pool, run_block(call, 5, pool=pool)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system without the kernel's files of threads, as gVisor."""
    monkeypatch.setattr(threads, "TASKS", tmp_path)


@pytest.fixture
def macos(sandbox: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts what the whole process does alone."""
    of_processes = SimpleNamespace(getrusage=resource.getrusage, RUSAGE_SELF=resource.RUSAGE_SELF)
    monkeypatch.setattr(threads, "resource", of_processes)


@counted
def test_the_threads_that_work_are_the_pool(in_another_thread):
    pool, block = block_of(in_another_thread)
    assert len(pool.threads) == pool.size == block.pool == 1 and not pool.is_hidden
    assert block.waited_ns is not None and block.waited_ns >= 0
    pool, block = block_of(work)
    assert (pool.size, block.pool, block.waited_ns) == (0, 0, 0)


@pytest.mark.parametrize("system", ["sandbox", "macos"])
def test_what_a_hidden_pool_does_is_not_time_that_others_took(request, system, in_another_thread):
    request.getfixturevalue(system)
    pool, block = block_of(in_another_thread)
    assert pool.is_hidden and pool.threads == []
    assert (block.pool, block.waited_ns, block.lost_ns) == (1, None, 0)


@pytest.mark.parametrize("system", ["sandbox", "macos"])
def test_of_one_thread_the_time_off_the_processor_is_known_everywhere(request, system):
    request.getfixturevalue(system)
    pool, block = block_of(work)
    assert (pool.is_hidden, block.pool, block.waited_ns) == (False, 0, 0)
    assert 0 <= block.lost_ns <= sum(block.ns)


# Root gives its privileges away, but those that are named: of real time, and of so much below the usual nice value.
LIMITED = """
import os, resource, sys
from edgekd.agent.threads import Pool, threads_now
resource.setrlimit(resource.RLIMIT_RTPRIO, (1, 1))
resource.setrlimit(resource.RLIMIT_NICE, (int(sys.argv[1]),) * 2)
os.setresuid(65534, 65534, 65534)
print(Pool(threads_now(), 1).is_privileged)
"""


def test_a_pool_that_could_not_leave_its_idle_policy_never_gets_it():
    """Linux lets an idle thread become an ordinary one only where its nice value might be lowered to the usual one."""

    def is_privileged(nice: int) -> str:
        words = [sys.executable, "-c", LIMITED, str(nice)]
        return subprocess.run(words, capture_output=True, text=True).stdout.strip()

    if is_privileged(20) != "True":
        pytest.skip("nobody here may grant real-time priority alone")
    assert is_privileged(0) == "False"


@pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="threads have no policies here")
@pytest.mark.parametrize("may_lower_nice", [True, False])
def test_that_rule_on_a_test_double_of_the_kernel(monkeypatch, may_lower_nice):
    policies: dict[int, int] = {}

    def set_policy(thread: int, policy: int, _: object) -> None:
        if policies.get(thread) == os.SCHED_IDLE != policy and not may_lower_nice:
            raise PermissionError(1, "Operation not permitted")
        policies[thread] = policy

    monkeypatch.setattr(os, "sched_setscheduler", set_policy)
    assert Pool(threads_now(), 1).is_privileged == may_lower_nice
    assert policies[threading.get_native_id()] == os.SCHED_OTHER
