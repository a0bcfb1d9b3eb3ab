"""Processes that take processor time beside a measurement, and are ended with it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from signal import SIGKILL

from edgekd.agent.cpus import quietest

FUNCTIONS = 1500
FUNCTION = """\
static double f{0}(double *x, int n) {{
  double sum = {0};
  for (int i = 0; i < n; i++) {{
    sum += x[i] * (i % {1});
    if (sum > {0}.5) sum -= x[n - i - 1] / (1 + i);
  }}
  return sum;
}}
"""
# It ends when its parent is gone: one that is killed has no time to end it.
SPIN = """\
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1000000):
        pass
"""
# Until a new process is at full load.
SETTLE_S = 0.3


@contextmanager
def hog(wanted: bool = True) -> Iterator[int | None]:
    """Run a process that never rests, on the CPU that a comparison would take last."""
    if not wanted:
        yield None
        return
    cpu = max(quietest(10_000))
    pinned = f"import os\nos.sched_setaffinity(0, [{cpu}])\n{SPIN}"
    process = subprocess.Popen([sys.executable, "-c", pinned])
    try:
        yield cpu
    finally:
        process.kill()
        process.wait()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Run ``count`` processes that never rest, wherever the kernel puts them.

    Each has a session of its own, as in the shells of several users: a kernel that groups processes by session gives
    each of them as much as a whole measurement.
    """
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(session([sys.executable, "-c", SPIN]))
        time.sleep(SETTLE_S if count else 0)
        yield


@contextmanager
def compiling(folder: Path, jobs: int = 2) -> Iterator[None]:
    """Compile over and over, ``jobs`` at a time in one session, as ``make -j`` does."""
    command = f"while kill -0 $PPID && {compilation(folder)}; do :; done"
    with session(["sh", "-c", " & ".join([command] * jobs) + " & wait"]):
        time.sleep(SETTLE_S)
        yield


def compilation(folder: Path) -> str:
    """Return the shell command of one compilation: C with gcc, or Python's own library where there is no gcc."""
    if shutil.which("gcc") is None:
        return f"{sys.executable} -m compileall -q -f -p {folder} {Path(os.__file__).parent} >/dev/null"
    source = folder / "neighbour.c"
    functions = "".join(FUNCTION.format(number, number % 7 + 2) for number in range(FUNCTIONS))
    calls = " + ".join(f"f{number}(x, n)" for number in range(FUNCTIONS))
    source.write_text(f"{functions}double all(double *x, int n) {{ return {calls}; }}\n")
    return f"gcc -O2 -c {source} -o /dev/null"


@contextmanager
def session(command: list[str]) -> Iterator[None]:
    """Run ``command`` in a session of its own; it and what it started are killed in the end."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the neighbour ended by itself with {process.returncode}: {' '.join(command)[:80]}")
    finally:
        with suppress(ProcessLookupError):  # all of it has ended by itself
            os.killpg(process.pid, SIGKILL)
        process.wait()
