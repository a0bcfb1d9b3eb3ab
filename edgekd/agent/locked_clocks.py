"""Clocks of a Jetson, locked while it is measured."""

from __future__ import annotations

import fcntl
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgekd.agent.system import must
from edgekd.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked_clocks(folder: Path) -> Iterator[None]:
    """Lock the clocks at the top of the power mode, and restore them also when this process is killed.

    A shell in a session of its own waits for the end of its input, which comes when this process ends, however it does.
    ``folder`` is where what it restores is kept meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = folder / f"clocks-{os.getpid()}"
    lock = (folder / "clocks.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DeviceError("another run has locked the clocks: wait for it") from None
    must(["sudo", "-n", "jetson_clocks", "--store", str(stored)])
    # It holds the lock as long as it lives.
    script = 'cat >/dev/null; sudo -n jetson_clocks --restore "$1" && rm -f -- "$1"'
    guard = subprocess.Popen(["sh", "-c", script, "guard", str(stored)], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                             pass_fds=[lock.fileno()])  # fmt: skip
    assert guard.stdin is not None
    try:
        must(["sudo", "-n", "jetson_clocks"])
        yield
    finally:
        guard.stdin.close()
        restored = guard.wait() == 0
        lock.close()
    if not restored:
        raise DeviceError(f"the clocks are still locked: 'sudo jetson_clocks --restore {stored}' there puts them back")
