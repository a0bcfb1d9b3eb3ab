"""Lines from a process, read within a deadline and within bounds.

The process may be silent, slow or endless.
"""

import os
import select
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import IO

LONGEST_LINE = 64 << 20
MOST = 1 << 30
PIECE = 1 << 20
STOPPING_S, ENDING_S = 2.0, 10.0


class SlowError(Exception):
    """The deadline has passed."""


class FloodError(Exception):
    """More came than any valid response can hold; the message says how much, to be put after the sender's name."""


class Lines:
    """The lines of ``stream`` as they come, ``longest`` bytes each at most, and ``most`` of all until :meth:`renew`."""

    def __init__(self, stream: IO[bytes], longest: int = LONGEST_LINE, most: int = MOST):
        self._handle = stream.fileno()
        self._longest, self._most, self._left = longest, most, most
        self._whole: deque[bytes] = deque()
        self._begun: list[bytes] = []

    def renew(self) -> None:
        """Let as many bytes come as at the start: those that came were asked for."""
        self._left = self._most

    def next(self, deadline: float) -> bytes | None:
        """Return the next line without its end, or None after the last whole one.

        Raises:
            SlowError: no whole line came before ``deadline``, on the clock of :func:`time.monotonic`.
            FloodError: it is longer than the bounds allow.
        """
        while not self._whole:
            piece = self.piece(deadline)
            if not piece:
                return None
            first, *others = piece.split(b"\n")
            self._begun.append(first)
            if sum(map(len, self._begun)) > self._longest:
                raise FloodError(
                    f"sent a line of more than {self._longest >> 20} MiB: ask for fewer seconds, files or samples at a "
                    "time"
                )
            if others:
                self._whole += [b"".join(self._begun), *others[:-1]]
                self._begun = others[-1:]
        return self._whole.popleft()

    def piece(self, deadline: float) -> bytes:
        """Return the next bytes, whether a whole line or not, and none at the end."""
        left = deadline - monotonic()
        if left <= 0 or not select.select([self._handle], [], [], left)[0]:
            raise SlowError
        piece = os.read(self._handle, PIECE)
        self._left -= len(piece)
        if self._left < 0:
            raise FloodError("sent far more than was asked for")
        return piece


class PipedProcess:
    """A process whose input stays open until the ``with`` block ends, which is its signal to stop.

    It has a session of its own: Ctrl-C in a terminal reaches this process alone, which then puts things away. Its
    lines come until ``deadline``, as :class:`Lines` has them; a line that is sent to it renews their bound.
    """

    def __init__(
        self,
        words: Sequence[str],
        deadline: float,
        env: Mapping[str, str],
        preexec: Callable[[], None] | None = None,
        most: int = MOST,
    ):
        self._deadline = deadline
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, bufsize=0,
            preexec_fn=preexec, env=env, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout, most=most)

    def __enter__(self) -> "PipedProcess":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                if stream:
                    stream.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOPPING_S)
        self._process.kill()
        self._process.wait()
        self._stderr.close()

    def send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self.renew()
        with suppress(BrokenPipeError):  # reading says why
            self._process.stdin.write(line)

    def renew(self) -> None:
        """Let as many bytes come as at the start."""
        self._lines.renew()

    def __iter__(self) -> Iterator[bytes]:
        while (line := self._lines.next(self._deadline)) is not None:
            yield line

    def result(self) -> tuple[int, str]:
        """Return its code and what it wrote to standard error, when its lines have ended; SlowError if it goes on."""
        try:
            code = self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            raise SlowError from None
        self._stderr.seek(0)
        return code, self._stderr.read().decode(errors="replace")
