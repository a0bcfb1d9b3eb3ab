"""The lock as one process has it: what its open blocks ask for, how it waits, and what its children inherit."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekd.errors import MeasurementError, StorageError
from edgekd.log import get_logger
from edgekd.machine_lock.files import EXCLUSIVE, LOCK, OFF, QUEUE, SETTING, SHARED, lock_folder, open_and_lock, unlock
from edgekd.machine_lock.holders import LOCKS, described, holders

# "timing 123": the process of that id has the lock, and this one is its child.
HOLDER = "EDGEKD_MACHINE_LOCK_HOLDER"
TIMING, TRAINING = "timing", "training"
PIECE_S = 0.25
POLL_S = 0.05
# A training lets a timing in sooner than that, which is not worth a word.
SAY_AFTER_S = 0.5

logger = get_logger(__name__)


@contextmanager
def timing(timeout_s: float | None = None) -> Iterator[None]:
    """Keep all other processes of edgekd on this machine from timing and training in the block.

    Inside :func:`training` of the same process, it takes the place of that for as long as it lasts. Threads of one
    process count as one with it, and so do the processes that it starts in the block.

    Args:
        timeout_s: how long to wait for others; without limit if left out.

    Raises:
        MeasurementError: others still hold the lock after ``timeout_s``.
        StorageError: the folder that ``EDGEKD_MACHINE_LOCK`` names cannot be used.
    """
    with _process.doing(TIMING, timeout_s):
        yield


@contextmanager
def training() -> Iterator[None]:
    """Keep all other processes of edgekd on this machine from timing in the block; they may train.

    Inside :func:`timing` of the same process it waits for nothing. Call :func:`give_way` between the steps of a block
    that takes more than a second. Do not wait in the block for other processes: one of them may wait for the lock. Of
    the processes that torchrun started rank 0 waits for timings, and the others wait for its gradients.

    Raises:
        StorageError: the folder that ``EDGEKD_MACHINE_LOCK`` names cannot be used.
    """
    with _process.doing(TRAINING):
        yield


def give_way() -> None:
    """Let other processes time before the next step, if this one has trained for a quarter of a second since."""
    _process.give_way()


class _Process:
    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.blocks = {TIMING: 0, TRAINING: 0}
        self.held: str | None = None
        self.since = 0.0
        self.handles: list[int] = []

    @contextmanager
    def doing(self, activity: str, timeout_s: float | None = None) -> Iterator[None]:
        with self.mutex:
            self.blocks[activity] += 1
            try:
                self.settle(timeout_s)
            except BaseException:
                self.leave(activity)
                raise
        try:
            yield
        finally:
            with self.mutex:
                self.leave(activity)

    def leave(self, activity: str) -> None:
        self.blocks[activity] -= 1
        self.settle()

    def settle(self, timeout_s: float | None = None) -> None:
        """Hold what the open blocks ask for."""
        wanted = next((activity for activity, count in self.blocks.items() if count), None)
        if wanted == self.held:
            return
        self.release()
        if wanted is not None and not (wanted == TRAINING and _follows_another_rank()):
            _acquire(wanted, timeout_s, self.handles)
        if self.handles:
            os.environ[HOLDER] = f"{wanted} {os.getpid()}"
        self.held, self.since = wanted, time.monotonic()

    def release(self) -> None:
        if self.handles:
            os.environ.pop(HOLDER, None)
        _unlock(self.handles)
        self.held = None

    def give_way(self) -> None:
        if self.held == TRAINING and time.monotonic() - self.since > PIECE_S:
            with self.mutex:
                self.release()
                self.settle()


_process = _Process()


def _begin_as_child() -> None:
    """A forked child owns nothing; an open handle would keep the lock beyond its owner's life."""
    global _process
    while _process.handles:
        os.close(_process.handles.pop())
    _process = _Process()


os.register_at_fork(after_in_child=_begin_as_child)


def _follows_another_rank() -> bool:
    # Rank 0 holds the lock while it waits for this rank, so a timing that waits for rank 0 must not stop this one.
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"


def _is_inherited(wanted: str, folder: Path) -> bool:
    """Tell whether the process that started this one holds the lock at this moment, and so holds it for both."""
    activity, _, pid = os.environ.get(HOLDER, "").partition(" ")
    if not pid.isdecimal() or activity not in (TIMING, wanted):
        return False
    return int(pid) in holders(folder / LOCK) if LOCKS.exists() else int(pid) == os.getppid()


def _acquire(activity: str, timeout_s: float | None, handles: list[int]) -> None:
    """Fill ``handles`` with those that hold the lock: none without one, or where the parent has it for this process."""
    try:
        folder = lock_folder()
        if folder is not None and not _is_inherited(activity, folder):
            _wait(folder, activity, timeout_s, handles)
    except OSError as error:
        _unlock(handles)
        reason = f"the lock that keeps timing and training apart cannot be used: {error}"
        ways_out = f"name a folder for it by {SETTING}, or set that to '{OFF}'"
        if os.environ.get(SETTING):
            raise StorageError(f"{reason}; {ways_out}") from error
        _say_once(logging.WARNING, f"{reason}; others may work meanwhile; {ways_out}")
    except BaseException:
        _unlock(handles)
        raise


def _wait(folder: Path, activity: str, timeout_s: float | None, handles: list[int]) -> None:
    attempt, started = (_try_alone if activity == TIMING else _try_shared), time.monotonic()
    while taken := attempt(folder, handles):
        waited = time.monotonic() - started
        theirs = TRAINING if (activity, taken) == (TIMING, LOCK) else TIMING
        if timeout_s is not None and waited >= timeout_s:
            raise MeasurementError(
                f"waited {timeout_s:g} s for {described(folder / taken)}, which is {theirs}: give more time, end "
                f"that process, or set {SETTING}={OFF} to measure beside it"
            )
        if waited > SAY_AFTER_S:
            whom = f"{described(folder / taken)}, which is {theirs}"
            _say_once(logging.INFO, f"waiting for {whom}; {SETTING}={OFF} goes on without waiting")
        time.sleep(POLL_S)


def _try_alone(folder: Path, handles: list[int]) -> str | None:
    """Add handles of both files; return the name of the one that others hold. A place in the queue is kept."""
    for name in (QUEUE, LOCK)[len(handles) :]:
        handle = open_and_lock(folder / name, EXCLUSIVE)
        if handle is None:
            return name
        handles.append(handle)
    return None


def _try_shared(folder: Path, handles: list[int]) -> str | None:
    queue = open_and_lock(folder / QUEUE, SHARED)
    if queue is None:
        return QUEUE
    try:
        handle = open_and_lock(folder / LOCK, SHARED)
    finally:
        unlock(queue)
    if handle is None:
        return LOCK
    handles.append(handle)
    return None


def _unlock(handles: list[int]) -> None:
    # The lock before the queue, so that who passes the queue finds the lock free.
    while handles:
        unlock(handles.pop())


_said: set[str] = set()


def _say_once(level: int, text: str) -> None:
    if text not in _said:
        _said.add(text)
        logger.log(level, text)
