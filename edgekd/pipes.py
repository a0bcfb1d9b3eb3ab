"""Lines from a process, read within a deadline and within bounds.

The process may be silent, slow or endless.
"""

import os
import select
from collections import deque
from time import monotonic
from typing import IO

LONGEST_LINE = 64 << 20
MOST = 1 << 30
PIECE = 1 << 20


class SlowError(Exception):
    """The deadline has passed."""


class FloodError(Exception):
    """More came than any valid response can hold; the message says how much, to be put after the sender's name."""


class Lines:
    """The lines of ``stream`` as they come, ``longest`` bytes each and ``most`` of all together at most."""

    def __init__(self, stream: IO[bytes], longest: int = LONGEST_LINE, most: int = MOST):
        self._handle = stream.fileno()
        self._longest, self._left = longest, most
        self._whole: deque[bytes] = deque()
        self._begun: list[bytes] = []

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
                raise FloodError(f"sent a line of more than {self._longest >> 20} MiB")
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
