"""The agent on a device: copied there, given a job, its records read as they come."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from edgekd import strict_json
from edgekd.bench.events import Event, ResponseError
from edgekd.bench.local_agent import AgentJob
from edgekd.devices.agent_archive import agent_archive
from edgekd.devices.registry import Device, replace_command
from edgekd.devices.ssh import Ssh
from edgekd.devices.ssh_errors import EndedError, last_line
from edgekd.errors import DeviceError, MeasurementError
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


class RemoteJob(AgentJob):
    """A job of the agent on a device, which is ended with the ``with`` block.

    Raises:
        DeviceError: the job failed, the agent ended early, the connection or the time did. Records that came before
            that are good.
    """

    def __init__(self, remote: Remote, request: Mapping[str, object], timeout_s: float):
        self._device = remote.device.name
        super().__init__(remote.stream([remote.device.python, NAME], timeout_s), request)

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from super().__iter__()
        except MeasurementError as error:
            raise DeviceError(f"{self._device}: {str(error)[:2000]}") from error
        except EndedError as error:
            if error.code != KILLED:
                raise
            raise DeviceError(
                f"the agent on {self._device} was killed; its memory may have run out: a smaller batch"
            ) from error

    def parse(self, line: bytes) -> Event:
        try:
            event = strict_json.parse(line)
        except ValueError as error:
            if line.lstrip().startswith(b"{"):
                raise ResponseError(f"{self._device} sent an invalid response ({error})") from error
            raise self._unexpected(line) from error
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise self._unexpected(line)
        return event

    def ended(self) -> DeviceError:
        return DeviceError(f"the agent on {self._device} ended before it was done")

    def _unexpected(self, line: bytes) -> DeviceError:
        return DeviceError(unexpected_output(self._device, line[:1000].decode(errors="replace").strip()))
