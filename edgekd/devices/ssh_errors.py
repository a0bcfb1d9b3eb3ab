"""Errors of ssh and scp, recognised in their messages, each with the next step."""

import re

from edgekd.devices.address import Address
from edgekd.errors import DeviceError, UnavailableError


class CutError(UnavailableError):
    """The connection was lost, and what ran on the device has ended with it."""


class DeviceTimeError(DeviceError):
    """What ran on the device took longer than its time limit and was stopped."""


class EndedError(DeviceError):
    """Say that what ran on the device ended with another ``code`` than 0."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class TransientError(UnavailableError):
    """The connection was refused or dropped before anything ran: trying again is safe."""


CHANGED = (
    "the host key of {address} is not the one you know: the device was installed anew, or something else responds in "
    "its place; when you are sure, 'ssh-keygen -R {host}' and 'ssh {address}' once"
)
UNKNOWN_KEY = "the host key of {address} is not known yet: 'ssh {address}' once, compare its fingerprint, and accept it"
DENIED = (
    "{address} does not accept your key: 'ssh-copy-id {address}' puts it there, or name the user and the key in your "
    "~/.ssh/config; edgekd never asks for a password"
)

PERMANENT = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", CHANGED),
    ("Host key verification failed|No .* host key is known", UNKNOWN_KEY),
    ("Permission denied|Too many authentication failures", DENIED),
    (
        "Could not resolve hostname|Name or service not known",
        "no host is called {host}: look at its name, or give its address instead",
    ),
    (
        "timed out|No route to host|Network is unreachable|Host is down",
        "{address} does not respond: is it on and in this network, and is the port right?",
    ),
)
TRANSIENT = (
    (
        "Connection refused",
        "nothing listens for SSH at {address}: start sshd there ('sudo systemctl start ssh'), or look at the port",
    ),
    (
        "kex_exchange|Connection reset|Connection closed|Broken pipe",
        "{address} closed the connection before it was ready: it may be starting, or refuse too many connections",
    ),
)


def connection_error(address: Address, stderr: str) -> UnavailableError:
    """Return the reason why no connection was made, from ssh's standard error."""
    for kind, table in ((UnavailableError, PERMANENT), (TransientError, TRANSIENT)):
        for pattern, message in table:
            if re.search(pattern, stderr):
                return kind(message.format(address=address, host=address.host))
    return UnavailableError(
        f"ssh cannot reach {address}: {last_line(stderr) or 'it printed nothing'}; does 'ssh {address}' work?"
    )


def last_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else ""
