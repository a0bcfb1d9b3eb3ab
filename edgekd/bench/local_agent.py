"""The agent on this machine: a process that this one talks to through a pipe, as to a device's through SSH."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from signal import SIGKILL
from time import monotonic
from typing import Any

from edgekd import children
from edgekd.agent.child import failure_message
from edgekd.bench.events import Event
from edgekd.errors import DisturbedError, EdgekdError, MeasurementError
from edgekd.pipes import FloodError, PipedProcess, SlowError

NUMBERED = re.compile(r"^\d+\.onnx:? ")


class TimeLimitError(DisturbedError):
    """The time limit of the whole measurement is over."""


class AgentJob:
    """A job of the agent that runs in ``process``, here or on a device: its records as they come, and answers to them.

    It is ended with the ``with`` block. ``doing`` is the model that the agent is at, and what it does with it.
    """

    doing = ("", "")

    def __init__(self, process: PipedProcess, request: Mapping[str, object]):
        self._process = process
        self.send(request)

    def __enter__(self) -> "AgentJob":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__()

    def send(self, answer: Mapping[str, object]) -> None:
        self._process.send(json.dumps(answer, default=asdict).encode() + b"\n")

    def renew(self) -> None:
        """Take note that what came so far was asked for: it does not count towards a flood."""
        self._process.renew()

    def __iter__(self) -> Iterator[Event]:
        for line in self._process:
            event = self.parse(line)
            if event["event"] == "done":
                return
            if event["event"] == "failed":
                raise (DisturbedError if event.get("killed") else MeasurementError)(failure(event))
            if event["event"] == "doing":
                self.doing = str(event.get("model")), str(event.get("activity"))
            else:
                yield event
        raise self.ended()

    def parse(self, line: bytes) -> Event:
        return dict(json.loads(line))

    def ended(self) -> EdgekdError:
        """Return the error of an agent that ended before its job was done."""
        code, stderr = self._process.result()
        kind = DisturbedError if code == -SIGKILL else MeasurementError
        return kind(f"{self.doing[0]}: {failure_message(code, stderr)}")


class LocalJob(AgentJob):
    """A job of an agent on this machine.

    Args:
        waited_s: what of ``timeout_s`` is over already.

    Raises:
        TimeLimitError: ``timeout_s`` are over; it says what was being done.
        DisturbedError: a process of it was killed, as the system does where memory runs out.
        MeasurementError: the job failed, or its process died.
    """

    def __init__(self, request: Mapping[str, Any], timeout_s: float, waited_s: float = 0.0):
        self._timeout_s, deadline = timeout_s, monotonic() + timeout_s - waited_s
        self.doing = (", ".join(request.get("models", ())) or request.get("name", "this machine"), "starting")
        super().__init__(PipedProcess(children.words("edgekd.agent"), deadline, children.environment()), request)

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from super().__iter__()
        except SlowError:
            model, activity = self.doing
            raise TimeLimitError(
                f"{model}: {activity} was not done when the time limit of {self._timeout_s:g} s was over, and was "
                "stopped; a smaller batch or model takes less"
            ) from None
        except FloodError as error:
            raise MeasurementError(f"{self.doing[0]}: the measuring process {error}") from None


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
