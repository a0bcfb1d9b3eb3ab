"""A worker process as its search sees it: jobs in, results out, and a reason where it died."""

import json
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edgekd import children, errors
from edgekd.log import get_logger
from edgekd.strict_json import JsonObject

logger = get_logger(__name__)

MODULE = "edgekd.search.worker"
SHOWN = 200
# Of an error: another process, or the system, killed the process. Other signals come from a user, or from its own code.
KILLED = "killed"
# Errors that edgekd raises itself, after which a process is as it was.
KNOWN = frozenset(name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception))


class Worker:
    """A process that runs one job at a time; one that died is replaced by the next job.

    Args:
        log: the file that what it logs is added to.
    """

    slots = 1

    def __init__(self, log: Path):
        self.log = log
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._said = False

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def run(self, job: str, **fields: Any) -> JsonObject:
        """Return ``{"result": ...}``, or ``{"error": ...}`` where the job failed or its process died."""
        process = self._process or self._start()
        assert process.stdin and process.stdout
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"job": job, **fields}) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if line.endswith("\n"):
            found = dict(json.loads(line))
            if "error" in found and found.get("kind") not in KNOWN:
                # Of memory, or of a GPU's driver: what it left behind may fail the next job too.
                self.stop()
            return found
        code = process.wait()
        self.stop()
        return {"error": self._why(code), "kind": KILLED if code == -signal.SIGKILL else "died"}

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin and process.stdout
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
            process.stdout.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _start(self) -> "subprocess.Popen[str]":
        if not self._said:
            logger.info(f"each training's progress is in {self.log}")
            self._said = True
        self._errors = self.log.open("ab")
        self._process = children.converse(MODULE, self._errors)
        return self._process

    def _why(self, code: int) -> str:
        if code >= 0:
            last = (self.log.read_text(errors="replace").strip().splitlines() or [""])[-1]
            return f"its process ended with {code}: {last[:SHOWN]}"
        name = signal.Signals(-code).name
        memory = ", as the system does where memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{memory}"
