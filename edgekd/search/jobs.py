"""The jobs of a search under way: where they are done, and as many at a time as fit there."""

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from edgekd.errors import DataError, DisturbedError, EdgekdError, StorageError, UnavailableError
from edgekd.log import get_logger
from edgekd.search.launch import KILLED
from edgekd.search.study_log import StudyLog
from edgekd.strict_json import JsonObject

# Of the machine, the data and the target, which are those of all candidates: another start may find them mended.
NOT_OF_A_CANDIDATE = frozenset(kind.__name__ for kind in (DataError, StorageError, UnavailableError))
# What another process may have caused; a candidate that causes it does so again.
TRIED_AGAIN = frozenset((KILLED, DisturbedError.__name__))

logger = get_logger(__name__)
About = TypeVar("About")


class JobRunner(Protocol):
    """Where the jobs of :mod:`edgekd.search.worker` are done: a process of this machine, or the nodes of a cluster."""

    @property
    def slots(self) -> int:
        """Return how many jobs are done at a time; known inside the ``with`` block."""

    @property
    def log(self) -> Path:
        """Return the file, or the pattern of files, that has what jobs log."""

    def run(self, job: str, **fields: Any) -> JsonObject:
        """Return ``{"result": ...}`` or ``{"error": ...}``, whichever thread asks."""

    def stop(self) -> None:
        """End the jobs under way; those who wait for them get an error."""

    def __enter__(self) -> "JobRunner": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


def run_timed(runner: JobRunner, job: str, stopping: Event | None = None, **fields: Any) -> JsonObject:
    """Return what ``runner`` gives for the job, with the seconds that it took.

    A job whose process was killed, or that others kept from measuring, is done once more: what is finished of it is
    kept.

    Args:
        stopping: set before the jobs under way are ended, which are not done once more.
    """
    found = _timed(runner, job, fields)
    if found.get("kind") in TRIED_AGAIN and not (stopping and stopping.is_set()):
        logger.warning(f"{found['error']}; it is tried once more")
        found = _timed(runner, job, fields)
    return found


def run_needed(runner: JobRunner, log: StudyLog, job: str, **fields: Any) -> JsonObject:
    """Return what ``runner`` gives for a job without which nothing can be trained, with the seconds that it took.

    Raises:
        EdgekdError: it failed.
    """
    found = run_timed(runner, job, **fields)
    if "error" in found:
        begun = "" if log.of("trial") else "nothing was trained: "
        raise EdgekdError(f"{begun}{found['error']}")
    return found


def _timed(runner: JobRunner, job: str, fields: JsonObject) -> JsonObject:
    started = time.monotonic()
    return {**runner.run(job, **fields), "seconds": round(time.monotonic() - started, 2)}


class Jobs(Generic[About]):
    """Jobs that ``runner`` does at the same time, each with what it is for; they end with the ``with`` block."""

    def __init__(self, runner: JobRunner):
        self.runner = runner
        self._stopping = Event()
        self._pool = ThreadPoolExecutor(runner.slots)
        self._under_way: dict[Future[JsonObject], About] = {}

    def __enter__(self) -> "Jobs[About]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        if self._under_way:
            self.runner.stop()
        self._pool.shutdown(cancel_futures=True)

    @property
    def under_way(self) -> list[About]:
        """Return what the jobs under way are for."""
        return list(self._under_way.values())

    @property
    def free(self) -> int:
        """Return how many more can be started."""
        return self.runner.slots - len(self._under_way)

    def start(self, about: About, job: str, **fields: Any) -> None:
        """Start a job."""
        self._under_way[self._pool.submit(run_timed, self.runner, job, self._stopping, **fields)] = about

    def wait(self) -> list[tuple[About, JsonObject]]:
        """Wait until a job ends; return those that have ended, in the order that they were started in.

        Raises:
            EdgekdError: one failed by its machine, its target's device or the data: its candidate is not at fault.
        """
        ended = wait(self._under_way, return_when=FIRST_COMPLETED).done
        found = [(self._under_way.pop(future), future.result()) for future in [*self._under_way] if future in ended]
        for _, result in found:
            if result.get("kind") in NOT_OF_A_CANDIDATE:
                raise EdgekdError(f"{result['error']}; {self.runner.log} has more; the same command tries it again")
        return found
