"""Lines of JSON on the standard input and output of a process, which ends when its input does."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from edgekd.errors import EdgekdError


class Conversation:
    """The two ends of this process's pipe: requests come in, records go out.

    Whoever made this process holds its input open. When that ends, :attr:`at_end` is called and this process ends, in
    the midst of a long inference too.
    """

    def __init__(self) -> None:
        self.at_end: Callable[[], None] = lambda: None
        # What a library prints must not end up among the records.
        self._output = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self._requests.put(json.loads(line))
        try:
            self.at_end()
        finally:
            os._exit(1)

    def receive(self) -> dict[str, Any]:
        """Return the next request; wait for it."""
        return self._requests.get()

    def send(self, record: dict[str, Any]) -> None:
        """Write ``record`` at once."""
        self._output.write(json.dumps(record) + "\n")
        self._output.flush()


def one_line(error: BaseException) -> str:
    """Return the message of an error for people, and the type of another with its message."""
    text = str(error) if isinstance(error, EdgekdError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())
