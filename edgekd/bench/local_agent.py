"""The agent on this machine: a process that this one talks to through a pipe, as to a device's through SSH."""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from signal import SIGKILL
from time import monotonic
from typing import Any, Protocol

from edgekd import children
from edgekd.agent.child import failure_message
from edgekd.bench.events import Event
from edgekd.errors import DisturbedError, MeasurementError
from edgekd.pipes import FloodError, Lines, SlowError

GRACE_S = 2.0
NUMBERED = re.compile(r"^\d+\.onnx:? ")


class TimeLimitError(DisturbedError):
    """The time limit of the whole measurement is over."""


class AgentJob(Protocol):
    """A job of an agent that is under way: its records as they come, and answers to them."""

    def __iter__(self) -> Iterator[Event]: ...

    def send(self, answer: Mapping[str, Any]) -> None: ...


class LocalJob:
    """A job of an agent on this machine, which is ended with the ``with`` block.

    Args:
        waited_s: what of ``timeout_s`` is over already.

    Raises:
        TimeLimitError: ``timeout_s`` are over; it says what was being done.
        DisturbedError: a process of it was killed, as the system does where memory runs out.
        MeasurementError: the job failed, or its process died.
    """

    def __init__(self, request: Mapping[str, Any], timeout_s: float, waited_s: float = 0.0):
        self._timeout_s, self._end = timeout_s, monotonic() + timeout_s - waited_s
        self._doing = (", ".join(request.get("models", ())) or request.get("name", "this machine"), "starting")
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            children.words("edgekd.agent"), env=children.environment(), start_new_session=True, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
        )  # fmt: skip
        self.send(request)

    def __enter__(self) -> "LocalJob":
        return self

    def __exit__(self, *_: object) -> None:
        """Close the agent's input, at which it ends its children and itself."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    def send(self, answer: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # reading says why
            self._process.stdin.write(json.dumps(answer).encode() + b"\n")

    def __iter__(self) -> Iterator[Event]:
        assert self._process.stdout is not None
        lines = Lines(self._process.stdout)
        while True:
            event = self._event(lines)
            if event["event"] == "done":
                return
            if event["event"] == "failed":
                raise (DisturbedError if event.get("killed") else MeasurementError)(failure(event))
            if event["event"] == "doing":
                self._doing = event["model"], event["activity"]
            else:
                yield event

    def _event(self, lines: Lines) -> Event:
        model, activity = self._doing
        try:
            line = lines.next(self._end)
        except SlowError:
            raise TimeLimitError(
                f"{model}: {activity} was not done when the time limit of {self._timeout_s:g} s was over, and was "
                "stopped; a smaller batch or model takes less"
            ) from None
        except FloodError as error:
            raise MeasurementError(f"{model}: the measuring process {error}") from None
        if line is None:
            code = self._process.wait()
            self._stderr.seek(0)
            kind = DisturbedError if code == -SIGKILL else MeasurementError
            raise kind(f"{model}: {failure_message(code, self._stderr.read().decode(errors='replace'))}")
        return dict(json.loads(line))


def failure(event: Event) -> str:
    """Return why a job failed, with its model in front where the message does not name it.

    On a device the model's file has a number for its name, which says nothing here.
    """
    model, why = event.get("model"), NUMBERED.sub("", str(event.get("why")))
    return f"{model}: {why}" if model and str(model) not in why else why


def ask_once(
    command: str,
    arguments: Mapping[str, Any],
    name: str,
    activity: str,
    session: str | None = None,
    threads: int = 1,
    timeout_s: float = 120,
) -> Any:
    """Run one command of a child in a fresh process, pinned to as many CPUs as ``threads``; return its result."""
    request = {
        **{
            "job": "edgekd.agent.once:run_once",
            "name": name,
            "activity": activity,
            "session": session,
            "threads": threads,
        },
        **{"command": command, "arguments": arguments},
    }
    with LocalJob(request, timeout_s) as job:
        return next(iter(job))["result"]
