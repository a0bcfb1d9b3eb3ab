"""Commands run on a device and files copied through the system's ``ssh`` and ``scp``, configured as the user has it."""

import re
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGXFSZ
from time import monotonic

from edgekd.bench.events import ResponseError
from edgekd.devices.address import Address
from edgekd.devices.connection import COMPLAINTS, GRACE_S, OURS, Connection, bounded, in_shell, plain_environment
from edgekd.devices.ssh_errors import DeviceTimeError, EndedError, last_line
from edgekd.errors import DeviceError, UnavailableError
from edgekd.pipes import FloodError, PipedProcess, SlowError

TIME_OVER = 124
LARGEST = 4 << 30  # of a file that comes from a device
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
# Children have sessions of their own, as a PipedProcess has.
ENVIRONMENT = plain_environment()


@dataclass(frozen=True)
class Outcome:
    """The result of a command; exit code 255 is given as 254, because ssh uses 255 for its own failures."""

    code: int
    out: bytes
    err: str


class Ssh:
    """A connection with a temporary folder on the device, which is removed when the ``with`` block ends.

    Commands run in that folder. ``config`` is a configuration file instead of the user's own (``ssh -F``).

    >>> with Ssh(Address("orin")) as device:  # doctest: +SKIP
    ...     device.push(Path("model.onnx"), "model.onnx")
    ...     device.run(["ls", "-l"]).out

    Raises:
        DeviceError: no connection; the message says why. A connection that is refused or dropped at its start is
            tried three times, everything else once.
    """

    def __init__(self, address: Address, config: Path | None = None, connect_timeout_s: int = 10):
        self.address = address
        self.config = config
        self.connect_timeout_s = connect_timeout_s

    def __enter__(self) -> "Ssh":
        self._connection = Connection(self.address, self.config, self.connect_timeout_s)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def folder(self) -> str:
        """Return the path of the temporary folder on the device."""
        return self._connection.folder

    def run(self, words: Sequence[str], timeout_s: float = 60, stdin: bytes = b"") -> Outcome:
        """Run ``words`` in the folder there; no shell reads them.

        Raises:
            CutError: the connection ended first.
            DeviceTimeError: ``timeout_s`` did; the command was stopped there where it has ``timeout`` (coreutils).
        """
        self._connection.check()
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as stderr:
            given.write(stdin)
            given.seek(0)
            try:
                code = subprocess.run(
                    self._remote(words, timeout_s),
                    stdin=given, stdout=out, stderr=stderr, timeout=timeout_s + GRACE_S,
                    preexec_fn=bounded(COMPLAINTS), env=ENVIRONMENT, start_new_session=True,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired as error:
                raise self._too_slow(words, timeout_s) from error
            found = [file.read() for file in (out, stderr) if file.seek(0) == 0]
        if code == -SIGXFSZ:
            raise DeviceError(f"{words[0]} on {self.address} printed more than {COMPLAINTS >> 20} MiB, and was stopped")
        return self._outcome(words, timeout_s, code, found[0], found[1].decode(errors="replace"))

    def _remote(self, words: Sequence[str], timeout_s: float) -> list[str]:
        script = in_shell(limited(words, self.folder, timeout_s))
        return [*self._connection.words("ssh"), "--", self.address.host, script]

    def _outcome(self, words: Sequence[str], timeout_s: float, code: int, out: bytes, err: str) -> Outcome:
        if code == OURS:
            raise self._connection.cut(err)
        if code == TIME_OVER:
            raise self._too_slow(words, timeout_s)
        return Outcome(code, out, err)

    def stream(self, words: Sequence[str], timeout_s: float) -> "SshStream":
        """Run ``words`` and return both ends of them, to be used in a ``with`` block; see :class:`SshStream`."""
        self._connection.check()
        return SshStream(self, words, timeout_s)

    def push(self, local: Path, name: str, timeout_s: float = 600) -> None:
        """Copy the file ``local`` to ``name`` in the folder there."""
        if not local.is_file():
            raise DeviceError(f"no such file: {local}; nothing was copied to {self.address}")
        landing = name if PLAIN_NAME.fullmatch(name) else f"incoming-{secrets.token_hex(4)}"
        done = self._copy(str(local.resolve()), self.address.file(f"{self.folder}/{landing}"), timeout_s)
        if done.code:
            raise self._not_put(local, done.err)
        if landing != name:
            self._must(["mv", "--", landing, f"./{name}"])

    def pull(self, name: str, local: Path, timeout_s: float = 600, largest: int = LARGEST) -> None:
        """Copy the file ``name`` in the folder there to ``local``; at most ``largest`` bytes of it."""
        source = name if PLAIN_NAME.fullmatch(name) else f"outgoing-{secrets.token_hex(4)}"
        if source != name:
            # scp has had two opinions on who reads the name there: a shell until 2022, nobody since.
            self._must(["ln", "-s", "--", f"./{name}", source])
        done = self._copy(self.address.file(f"{self.folder}/{source}"), str(local.absolute()), timeout_s, largest)
        if done.code == -SIGXFSZ:
            raise ResponseError(
                f"{name} on {self.address} has more than {largest} bytes, and is not the file that was requested"
            )
        if done.code:
            self._connection.check()
            stderr = last_line(done.err)
            raise DeviceError(f"{name} was not copied from {self.address}: {stderr or 'scp printed nothing'}")

    def _copy(self, source: str, target: str, timeout_s: float, largest: int = COMPLAINTS) -> Outcome:
        self._connection.check()
        words = [*self._connection.words("scp"), "-q", "--", source, target]
        try:
            with tempfile.TemporaryFile() as stderr:
                done = subprocess.run(
                    words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, timeout=timeout_s,
                    preexec_fn=bounded(largest), env=ENVIRONMENT, start_new_session=True,
                )  # fmt: skip
                stderr.seek(0)
                return Outcome(done.returncode, b"", stderr.read(COMPLAINTS).decode(errors="replace"))
        except subprocess.TimeoutExpired as error:
            raise self._too_slow(["scp"], timeout_s) from error

    def _not_put(self, local: Path, stderr: str) -> DeviceError:
        self._connection.check()
        size, free = local.stat().st_size, self.free_bytes()
        if free is not None and free < max(size, 4096):
            return UnavailableError(
                f"the disk of {self.address} is full: {local.name} has {size / 1e6:.2f} MB and {self.folder} room for "
                f"{free / 1e6:.2f} MB; free some, or set TMPDIR there"
            )
        return DeviceError(f"{local} was not copied to {self.address}: {last_line(stderr) or 'scp printed nothing'}")

    def _must(self, words: Sequence[str]) -> None:
        outcome = self.run(words)
        if outcome.code:
            raise DeviceError(f"{words[0]} failed on {self.address}: {last_line(outcome.err)}")

    def free_bytes(self) -> int | None:
        """Free disk space where the folder is."""
        lines = self.run(["df", "-Pk", "."]).out.decode(errors="replace").splitlines()
        fields = lines[-1].split() if lines else []
        return int(fields[3]) * 1024 if len(fields) > 3 and fields[3].isdecimal() else None

    def _too_slow(self, words: Sequence[str], timeout_s: float) -> DeviceTimeError:
        return DeviceTimeError(f"{words[0]} was not done on {self.address} in {timeout_s:g} s, and was stopped")


class SshStream(PipedProcess):
    """A program that runs on the device, whose lines end with it.

    Raises:
        CutError: the connection ended first.
        DeviceTimeError: ``timeout_s`` did.
        EndedError: the program ended with another code than 0; its last words are in the message.
    """

    def __init__(self, ssh: Ssh, words: Sequence[str], timeout_s: float):
        self._ssh, self._words, self._timeout_s = ssh, words, timeout_s
        deadline = monotonic() + timeout_s + GRACE_S
        super().__init__(ssh._remote(words, timeout_s), deadline, ENVIRONMENT, bounded(COMPLAINTS))

    def __iter__(self) -> Iterator[bytes]:
        where = self._ssh.address
        try:
            yield from super().__iter__()
            code, err = self.result()
        except SlowError:
            raise self._ssh._too_slow(self._words, self._timeout_s) from None
        except FloodError as error:
            raise ResponseError(f"{self._words[0]} on {where} was stopped: it {error}") from None
        outcome = self._ssh._outcome(self._words, self._timeout_s, code, b"", err)
        if outcome.code:
            why = last_line(outcome.err) or "it printed nothing"
            raise EndedError(f"{self._words[0]} ended on {where} with code {outcome.code}: {why}", outcome.code)


def limited(words: Sequence[str], folder: str, timeout_s: float) -> str:
    # ONNX Runtime leaves a file among the temporary ones; in the folder it goes away with it.
    command = shlex.join(words)
    ends = f"timeout -k 5 {max(1, round(timeout_s))}"
    return (
        f"cd {shlex.quote(folder)} || exit 125; export TMPDIR={shlex.quote(folder)}; "
        f"if timeout -k 1 1 true 2>/dev/null; then {ends} {command}; else {command}; fi; "
        f"code=$?; [ $code -eq {OURS} ] && code=254; exit $code"
    )
