"""One SSH connection to a device for all commands, and a temporary folder there that lives as long as it."""

import os
import re
import resource
import secrets
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO

from edgekd.devices.address import Address
from edgekd.devices.ssh_errors import CutError, TransientError, connection_error, last_line
from edgekd.errors import DeviceError, UnavailableError
from edgekd.files import storage
from edgekd.pipes import FloodError, Lines, SlowError
from edgekd.scratch import make_scratch, remove_leftovers, remove_scratch

ATTEMPTS, PAUSE_S = 3, 1.0
GRACE_S = 10.0
GREETING = 4 << 20
COMPLAINTS = 4 << 20  # of what ssh and what runs there write to standard error
MASTER_WRITES = 256 << 20  # the programs that a ProxyCommand starts have logs of their own
OURS = 255  # ssh ends with it when it is ssh that failed
NO_FOLDER = 73
PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+-]*")

# The connection's own session holds the folder: whichever end goes away, its input ends and the folder goes too. It
# says where that is to nobody if this end has gone meanwhile, which must not end it either.
HOLD = (
    "trap '' PIPE; "
    'umask 077; folder=$(mktemp -d "${TMPDIR:-/tmp}/edgekd.XXXXXXXX") || exit 73; echo MARK "$folder"; cat >/dev/null; '
    'cd /; rm -rf -- "$folder" || { sleep 1; rm -rf -- "$folder"; }'
)


class Connection:
    """An SSH master connection; other ssh and scp processes go through its socket.

    It is a child of this process and reads from it, so it ends when this process does, however that ends.
    """

    folder: str

    def __init__(self, address: Address, config: Path | None, connect_timeout_s: int):
        self.address = address
        self.config = config
        self.connect_timeout_s = connect_timeout_s
        if shutil.which("ssh") is None or shutil.which("scp") is None:
            raise UnavailableError("ssh and scp are not installed here: 'apt install openssh-client' or its like")
        # A socket's path has room for about a hundred letters, which the usual folders of macOS fill.
        parent = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
        remove_leftovers(parent)
        with storage(parent):
            self._private = make_scratch(parent)
        try:
            self._connect()
        except BaseException:
            remove_scratch(self._private)
            raise

    def _connect(self) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._open()
                return
            except TransientError:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(PAUSE_S)

    def _open(self) -> None:
        mark = f"edgekd-{secrets.token_hex(8)}"
        self._stderr = Path(self._private, "stderr").open("w+b")  # noqa: SIM115 - closed with the connection
        self._process = subprocess.Popen(
            [*self.words("ssh", "yes"), "--", self.address.host, in_shell(HOLD.replace("MARK", mark))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=plain_environment(), bufsize=0,
            start_new_session=True,
            preexec_fn=bounded(MASTER_WRITES),
        )  # fmt: skip
        try:
            line = self._line_with(mark, monotonic() + 2 * self.connect_timeout_s)
            self.folder = line.split(mark, 1)[1].strip()
            if not PLAIN_PATH.fullmatch(self.folder):
                raise DeviceError(f"{self.address} keeps its temporary files in {self.folder!r}: set TMPDIR there")
        except BaseException:
            self._end()
            raise

    def _line_with(self, mark: str, deadline: float) -> str:
        """The login shell's greetings are passed over."""
        assert self._process.stdout is not None
        lines = Lines(self._process.stdout, longest=GREETING, most=GREETING)
        try:
            while (line := lines.next(deadline)) is not None:
                if mark.encode() in line:
                    return line.decode(errors="replace")
        except SlowError:
            raise connection_error(self.address, "timed out") from None
        except FloodError as error:
            raise DeviceError(
                f"{self.address} {error} before it did anything: its login shell prints without end; guard that in "
                "~/.bashrc there"
            ) from None
        raise self._no_connection()

    def _no_connection(self) -> UnavailableError:
        code, stderr = self._process.wait(), self.stderr()
        if code == OURS:
            return connection_error(self.address, stderr)
        if code == NO_FOLDER:
            return UnavailableError(
                f"no folder can be made on {self.address}: {last_line(stderr)}; free some space, or set TMPDIR there"
            )
        return UnavailableError(
            f"{self.address} lets you in but runs no commands: {last_line(stderr) or f'code {code}'}"
        )

    def stderr(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read(COMPLAINTS).decode(errors="replace")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        if not self.alive:
            raise self.cut(self.stderr())

    def cut(self, stderr: str) -> CutError:
        why = f" ({last_line(stderr)})" if last_line(stderr) else ""
        return CutError(f"the connection to {self.address} was cut{why}; run the command again when it is back")

    def close(self) -> None:
        """Remove the folder, then close; a device that takes over ten seconds removes the folder by itself."""
        assert self._process.stdin is not None
        try:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
        finally:
            self._end()
            remove_scratch(self._private)

    def _end(self) -> None:
        if self.alive:
            self._process.kill()
        self._process.wait()
        streams: tuple[IO[bytes] | None, ...] = (self._process.stdin, self._process.stdout, self._stderr)
        for stream in streams:
            with suppress(BrokenPipeError):
                if stream:
                    stream.close()

    def words(self, program: str, master: str = "no") -> list[str]:
        """Return the command line of ``program`` (ssh or scp) through this connection, up to and with ``--``."""
        ours = {
            "BatchMode": "yes", "ConnectTimeout": self.connect_timeout_s, "ControlMaster": master,
            "ControlPath": f"{self._private}/c", "ControlPersist": "no", "ServerAliveInterval": 5,
            "ServerAliveCountMax": 3, "ClearAllForwardings": "yes", "RemoteCommand": "none", "RequestTTY": "no",
            "PermitLocalCommand": "no", "ForwardX11": "no",
        }  # fmt: skip
        if master == "no":
            # Where the master is gone, ssh would connect by itself, to where our folder is not.
            ours["ProxyCommand"] = "false"
        options = [word for key, value in ours.items() for word in ("-o", f"{key}={value}")]
        return [program, *(["-F", str(self.config)] if self.config else []), *options, *self.address.options()]


def in_shell(script: str) -> str:
    """Return the command that has a POSIX shell run ``script``, whatever the login shell is."""
    return f"exec sh -c {shlex.quote(script)}"


def bounded(largest: int) -> Callable[[], None]:
    """Return what keeps a child from writing files of more than ``largest`` bytes, whatever a device sends it."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))


def plain_environment() -> dict[str, str]:
    # The messages are matched in English; many configurations send the locale along, and Python there speaks UTF-8.
    return {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
