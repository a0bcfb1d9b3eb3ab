"""The time that a search has taken, and its record, which a kill does not lose."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from edgekd.errors import StorageError
from edgekd.search.study_log import RUNNING, StudyLog

# A kill loses no more of the time than this.
RECORDED_EVERY_S = 30.0


class TimeSpent:
    """The time that a search has taken, all starts together.

    Args:
        before: the seconds of earlier starts.
        limit: the seconds that may be spent, if there is a limit.
    """

    def __init__(self, before: float, limit: float | None):
        self.before, self.limit, self.started = before, limit, time.monotonic()

    @property
    def spent(self) -> float:
        """Return the seconds until now."""
        return self.before + time.monotonic() - self.started

    @property
    def words(self) -> str:
        """Return the words for the time that is spent."""
        most = f" of {_clock(self.limit)}" if self.limit else ""
        return f"{_clock(self.spent)}{most} spent"

    @contextmanager
    def recorded_in(self, log: StudyLog) -> Iterator[None]:
        """Record in ``log``, again and again in the block, how much is spent: a job that is killed has no other end."""
        ended = Event()

        def record() -> None:
            # Where the disk refuses, what the search records next says so.
            with suppress(StorageError):
                while not ended.wait(RECORDED_EVERY_S):
                    log.append(RUNNING, spent=round(self.spent, 2))

        thread = Thread(target=record, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{seconds / 60:.1f} min"
