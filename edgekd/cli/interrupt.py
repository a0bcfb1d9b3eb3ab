"""Ctrl-C ends the process at once, also in the middle of a long kernel.

Python runs signal handlers between bytecodes only, and one training step of a large network can take
a minute. The interpreter writes the signal's number to a file descriptor at once, though, and a thread
that reads it can leave. Leaving at once is safe because a run may be killed at any moment.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress

from edgekd.devices.connection import put_away

PARKED_S = 2.0


def leave_on_signal(how_to_go_on: str = "") -> None:
    """Ends with 128 plus the signal's number (130 for Ctrl-C), its child processes first.

    A device sees its connection end and puts its own side away.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        # The main thread waits meanwhile, or it would complain of the children that end.
        signal.signal(number, lambda *_: time.sleep(PARKED_S))

    def wait() -> None:
        while (number := os.read(reader, 1)[0]) not in (signal.SIGINT, signal.SIGTERM):
            pass
        # A live progress bar has hidden the cursor.
        sys.stderr.write(("\x1b[?25h" if sys.stderr.isatty() else "") + f"\ninterrupted{how_to_go_on}\n")
        sys.stderr.flush()
        try:
            put_away()
            end_children()
        finally:
            os._exit(128 + number)

    threading.Thread(target=wait, daemon=True).start()


def end_children() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it may have ended by itself
            child.kill()
