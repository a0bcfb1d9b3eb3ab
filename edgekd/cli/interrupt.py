"""Ctrl-C ends the process at once, also in the middle of a long kernel.

Python runs signal handlers between bytecodes only, and one training step of a large network can take
a minute. The interpreter writes the signal's number to a file descriptor at once, though, and a thread
that reads it can leave. Leaving at once is safe because a run may be killed at any moment.
"""

import atexit
import os
import signal
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

from edgekd.scratch import remove_all_scratch, remove_leftovers

STDERR = 2
# The line of a live progress bar is cleared, and the cursor that it has hidden is shown.
NO_BAR = "\r\x1b[2K\x1b[?25h"
PARKED_S = 60.0
CHILDREN_S = 1.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def leave_on_signal(how_to_go_on: str = "") -> None:
    """End the process at a signal, with 128 plus its number (130 for Ctrl-C, 143 for SIGTERM), its children first.

    Its temporary files are removed, and those of processes that were killed before. A device sees its connection end
    and cleans up its own side.
    """
    remove_leftovers(Path(tempfile.gettempdir()))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # Under nohup, the end of the terminal is ignored.
    ends = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    for number in ends:
        # The main thread waits meanwhile, or it would complain of the children that end.
        signal.signal(number, lambda *_: time.sleep(PARKED_S))

    # The interpreter takes the handlers away before it takes itself apart, and what is done by then counts as done.
    atexit.register(lambda: [signal.signal(number, signal.SIG_IGN) for number in ends])

    def wait() -> None:
        while (number := os.read(reader, 1)[0]) not in ends:
            pass
        try:
            end_children()
            remove_all_scratch()
            # Those of the children, which have ended by now.
            remove_leftovers(Path(tempfile.gettempdir()))
        finally:
            # Last, because a live progress bar is drawn again until the process ends. Not through sys.stderr, whose
            # lock the main thread holds if the signal came while it wrote.
            with suppress(OSError):
                before = NO_BAR if os.isatty(STDERR) else "\n"
                os.write(STDERR, f"{before}interrupted{how_to_go_on}\n".encode())
            os._exit(128 + number)

    threading.Thread(target=wait, daemon=True).start()


def end_children() -> None:
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.Error):  # it may have ended by itself
            child.kill()
    psutil.wait_procs(children, timeout=CHILDREN_S)
