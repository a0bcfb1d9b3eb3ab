"""The runner on a device: copied there, given a job, its events read as they come."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from edgekd import strict_json
from edgekd.devices import runner
from edgekd.devices.events import Event, ResponseError
from edgekd.devices.registry import Device, replace_command
from edgekd.devices.ssh import Ssh
from edgekd.devices.ssh_errors import last_line
from edgekd.errors import DeviceError

RUNNER = Path(runner.__file__)
NOT_FOUND, NOT_EXECUTABLE, KILLED = 127, 126, 137
NAME = "runner.py"
VERSION = re.compile(r"\d+\.\d+")


def unexpected_output(device: str, line: str) -> str:
    return (
        f"{device} printed {line[:60]!r} instead of a response: its login shell prints text to commands; guard it in "
        "~/.bashrc there, so that it prints to terminals alone"
    )


class Remote(Ssh):
    """``device`` with the runner in its temporary folder; both are gone when the ``with`` block ends.

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
            self.put(RUNNER, NAME)
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

    def events(self, request: Mapping[str, object], timeout_s: float) -> Iterator[Event]:
        """Run the job ``request``, which may hold records, and yield the runner's events, up to its end.

        Raises:
            DeviceError: the job failed, the runner ended early, the connection or the time did. Events that came
                before that are good.
        """
        words = [self.device.python, NAME]
        finished = False
        for line in self._guarded(words, timeout_s, json.dumps(request, default=asdict).encode() + b"\n"):
            event = self._event(line)
            if event["event"] == "failed":
                raise DeviceError(f"{self.device.name}: {str(event.get('why'))[:2000]}")
            finished = event["event"] == "done"
            if finished:
                break
            yield event
        if not finished:
            raise DeviceError(f"the runner on {self.device.name} ended before it was done")

    def _event(self, line: bytes) -> Event:
        try:
            event = strict_json.parse(line)
        except ValueError as error:
            if line.lstrip().startswith(b"{"):
                raise ResponseError(f"{self.device.name} sent an invalid response ({error})") from error
            raise DeviceError(
                unexpected_output(self.device.name, line[:1000].decode(errors="replace").strip())
            ) from error
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise DeviceError(unexpected_output(self.device.name, line[:1000].decode(errors="replace").strip()))
        return event

    def _guarded(self, words: list[str], timeout_s: float, stdin: bytes) -> Iterator[bytes]:
        try:
            yield from self.lines(words, timeout_s, stdin)
        except DeviceError as error:
            if f"with code {KILLED}" in str(error):
                raise DeviceError(
                    f"the runner on {self.device.name} was killed; its memory may have run out: a smaller batch"
                ) from error
            raise
