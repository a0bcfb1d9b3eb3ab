"""A real sshd on the loopback address, with keys and a configuration of its own, and a client's side to match."""

import getpass
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.needs import find, require

PRIVILEGES = Path("/run/sshd")  # sshd started by root wants this empty folder; a service makes it otherwise


def keygen(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """Started by ``start``, ended by ``stop``; ``temporary`` and ``path`` are TMPDIR and PATH there."""

    def __init__(self, folder: Path, temporary: Path | None = None, path: str | None = None):
        require("sshd", "ssh", "ssh-keygen")
        self.path = path
        self.folder, self.port = folder, free_port()
        self.temporary = temporary or folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)
        self.host_key, self.key = keygen(folder / "host"), keygen(folder / "user")
        (folder / "authorized").write_text((folder / "user.pub").read_text())
        self.config = self.client_config("ssh_config", self.key, (folder / "host.pub").read_text())
        self.process: subprocess.Popen[bytes] | None = None

    def client_config(self, name: str, key: Path, host_key: str | None, port: int | None = None) -> Path:
        """For the host ``board``, which is this server; knows ``host_key`` alone."""
        known = self.folder / f"{name}.known"
        words = host_key.split()[:2] if host_key else []
        known.write_text(" ".join([f"[127.0.0.1]:{port or self.port}", *words]) + "\n" if words else "")
        config = self.folder / name
        config.write_text(
            f"Host board other\n  HostName 127.0.0.1\n  Port {port or self.port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {key}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {known}\n"
            "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
        )
        return config

    def start(self) -> "Server":
        if os.geteuid() == 0:
            PRIVILEGES.mkdir(mode=0o755, exist_ok=True)
        # A home of its own: what the shell of whoever runs the tests does at its start is none of a device's.
        settings = [f"TMPDIR={self.temporary}", f"HOME={self.home}", *([f"PATH={self.path}"] if self.path else [])]
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.host_key}\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder / 'authorized'}\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            f"Subsystem sftp internal-sftp\nSetEnv {' '.join(settings)}\nMaxStartups 100\nMaxSessions 100\n"
        )
        with (self.folder / "log").open("wb") as log:
            words = [str(find("sshd")), "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self.process = subprocess.Popen(words, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"sshd did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.05)
        return self

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def sessions(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children()

    def cut(self) -> None:
        """As when the cable is pulled: the server's end of every connection is gone."""
        assert self.process is not None
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith("sshd"):
                    process.kill()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    def at_work(self) -> list[psutil.Process]:
        """What runs in the sessions' folders; ``info`` has the ``cmdline`` of each."""
        found = (process for process in psutil.process_iter(["cwd", "cmdline"]) if process.info["cmdline"])
        return [process for process in found if Path(process.info["cwd"] or "").is_relative_to(self.temporary)]

    def left_behind(self, patience_s: float = 5.0) -> list[str]:
        """What lies in the sessions' temporary folder, and what runs there, when it had time to go."""
        deadline = time.monotonic() + patience_s
        while (found := self._there_now()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _there_now(self) -> list[str]:
        processes = [" ".join(process.info["cmdline"]) for process in self.at_work()]
        return sorted(path.name for path in self.temporary.iterdir()) + processes
