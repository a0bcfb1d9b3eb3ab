"""Real processes that time or train until they are asked to let go."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import edgekd

# Arguments: the activity, and the number of blocks, or 0 for one that ends with a line of input. Each block prints when
# it began and ended.
SCRIPT = """
import sys, time
from edgekd.log import show_logs
from edgekd.machine_lock import give_way, timing, training
show_logs()
activity, blocks = sys.argv[1], int(sys.argv[2])
while True:
    with (timing if activity == "timing" else training)():
        started = time.monotonic()
        print("in", flush=True)
        if not blocks:
            sys.stdin.readline()
            break
        for _ in range(4 if activity == "timing" else 10_000):
            time.sleep(0.005)
            give_way()
    print(started, time.monotonic(), flush=True)
    blocks -= 1
    if not blocks:
        break
"""


class Another:
    """A process that holds the lock until it is asked to let go, or for so many blocks of 20 ms (timing) or longer."""

    def __init__(self, activity: str, blocks: int = 0):
        environment = {**os.environ, "PYTHONPATH": str(Path(edgekd.__file__).parents[1])}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, activity, str(blocks)],
            stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment,
        )  # fmt: skip
        self.pid = self.process.pid

    def __enter__(self) -> "Another":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def must_be_in(self) -> "Another":
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "in\n"
        return self

    def is_said(self) -> str:
        """Its next line on standard error."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip("\n")

    def let_go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Its exit code, and the rest of what it printed."""
        output, errors = self.process.communicate()
        return self.process.returncode, output, errors
