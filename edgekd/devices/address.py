"""Network addresses of devices: a host, with user and port where the user's SSH configuration does not give them."""

import re
from dataclasses import dataclass

from edgekd.errors import DeviceError

# ssh hands names on to commands of the user's configuration (ProxyCommand, Match exec): no shell may see more in them.
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9_.-]+)?")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\$?")


@dataclass(frozen=True)
class Address:
    """The address of an SSH server; ``host`` is a name, an address, or an alias of the SSH configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        if not HOST.fullmatch(self.host):
            raise DeviceError(
                f"{self.host!r} is no name of a host: letters, digits, '.', '-' and '_', not '-' first; anything else "
                "can be an alias in your ~/.ssh/config"
            )
        if self.user is not None and not USER.fullmatch(self.user):
            raise DeviceError(f"{self.user!r} is no name of a user: letters, digits, '.', '-', '+' and '_'")
        if self.port is not None and not 0 < self.port < 65536:
            raise DeviceError(f"port {self.port} does not exist; give 1 to 65535")

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}" + (f":{self.port}" if self.port else "")

    def options(self) -> list[str]:
        """Return the options for ssh and scp."""
        user = ["-o", f"User={self.user}"] if self.user else []
        return user + (["-o", f"Port={self.port}"] if self.port else [])

    def file(self, path: str) -> str:
        """Return ``path`` on the host, as scp writes it."""
        return f"[{self.host}]:{path}" if ":" in self.host else f"{self.host}:{path}"


def parse_address(text: str) -> Address:
    """Parse ``[user@]host[:port]``; an IPv6 address with a port stands in brackets.

    >>> parse_address("nvidia@orin.local:2222")
    Address(host='orin.local', user='nvidia', port=2222)
    """
    user, at, rest = text.rpartition("@")
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(\d{1,5}))?", rest)
    plain = re.fullmatch(r"([^:]*):(\d{1,5})", rest)
    match = bracketed or plain
    host, port = (match[1], match[2]) if match else (rest, None)
    return Address(host, user if at else None, int(port) if port else None)
