"""The agent on a device: copied there, given a job, its records read as they come."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from edgekd import strict_json
from edgekd.bench.events import Event, ResponseError
from edgekd.bench.local_agent import failure
from edgekd.devices.agent_archive import agent_archive
from edgekd.devices.registry import Device, replace_command
from edgekd.devices.ssh import Ssh
from edgekd.devices.ssh_errors import last_line
from edgekd.errors import DeviceError
from edgekd.files import temporary_folder

NOT_FOUND, NOT_EXECUTABLE, KILLED = 127, 126, 137
NAME = "agent.pyz"
VERSION = re.compile(r"\d+\.\d+")


def unexpected_output(device: str, line: str) -> str:
    return (
        f"{device} printed {line[:60]!r} instead of a response: its login shell prints text to commands; guard it in "
        "~/.bashrc there, so that it prints to terminals alone"
    )


class Remote(Ssh):
    """``device`` with the agent in its temporary folder; both are gone when the ``with`` block ends.

    Raises:
        DeviceError: as :class:`~edgekd.devices.ssh.Ssh`, or there is no Python 3.8 there.
    """

    def __init__(self, device: Device, connect_timeout_s: int = 10):
        super().__init__(device.address, Path(device.ssh_config) if device.ssh_config else None, connect_timeout_s)
        self.device = device

    def __enter__(self) -> "Remote":
        super().__enter__()
        try:
            self._check_python()
            with temporary_folder() as folder:
                (folder / NAME).write_bytes(agent_archive())
                self.push(folder / NAME, NAME)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _check_python(self) -> None:
        python, where = self.device.python, self.device.name
        outcome = self.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        # A login shell may print a greeting before the command runs.
        version = (outcome.out.decode(errors="replace").split() or [""])[-1]
        if outcome.code in (NOT_FOUND, NOT_EXECUTABLE):
            raise DeviceError(
                f"{where} has no {python}: 'sudo apt install python3' there, or name its Python with "
                f"'{replace_command(replace(self.device, python='PATH'))}'"
            )
        if outcome.code or not version:
            raise DeviceError(f"{python} on {where} does not start: {last_line(outcome.err) or outcome.code}")
        if not VERSION.fullmatch(version):
            raise DeviceError(unexpected_output(where, version))
        if tuple(map(int, version.split("."))) < (3, 8):
            raise DeviceError(f"{python} on {where} is Python {version} and 3.8 is needed; name another with --python")

    def job(self, request: Mapping[str, object], timeout_s: float) -> "RemoteJob":
        """Start the job ``request``, which may hold records; see :class:`RemoteJob`."""
        return RemoteJob(self, request, timeout_s)

    def events(self, request: Mapping[str, object], timeout_s: float) -> Iterator[Event]:
        """Run the job ``request`` and yield the agent's events, up to its end.

        Raises:
            DeviceError: the job failed, the agent ended early, the connection or the time did. Events that came
                before that are good.
        """
        with self.job(request, timeout_s) as job:
            yield from job


class RemoteJob:
    """A job of the agent on a device, which is ended with the ``with`` block: its records as they come, and answers.

    Raises:
        DeviceError: the job failed, the agent ended early, the connection or the time did. Records that came before
            that are good.
    """

    def __init__(self, remote: Remote, request: Mapping[str, object], timeout_s: float):
        self._device = remote.device
        self._stream = remote.stream([remote.device.python, NAME], timeout_s)
        self.send(request)

    def __enter__(self) -> "RemoteJob":
        self._stream.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.__exit__()

    def send(self, answer: Mapping[str, object]) -> None:
        self._stream.send(json.dumps(answer, default=asdict).encode() + b"\n")

    def __iter__(self) -> Iterator[Event]:
        for line in self._lines():
            event = self._event(line)
            if event["event"] == "done":
                return
            if event["event"] == "failed":
                raise DeviceError(f"{self._device.name}: {failure(event)[:2000]}")
            if event["event"] != "doing":
                yield event
        raise DeviceError(f"the agent on {self._device.name} ended before it was done")

    def _lines(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except DeviceError as error:
            if f"with code {KILLED}" in str(error):
                raise DeviceError(
                    f"the agent on {self._device.name} was killed; its memory may have run out: a smaller batch"
                ) from error
            raise

    def _event(self, line: bytes) -> Event:
        try:
            event = strict_json.parse(line)
        except ValueError as error:
            if line.lstrip().startswith(b"{"):
                raise ResponseError(f"{self._device.name} sent an invalid response ({error})") from error
            raise self._unexpected(line) from error
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise self._unexpected(line)
        return event

    def _unexpected(self, line: bytes) -> DeviceError:
        return DeviceError(unexpected_output(self._device.name, line[:1000].decode(errors="replace").strip()))
