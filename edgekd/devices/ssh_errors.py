"""What ssh and scp say when they fail, in words that tell what to do next."""

import re

from edgekd.devices.address import Address
from edgekd.errors import DeviceError


class CutError(DeviceError):
    """The connection was there and is not any more; what ran on the device has ended with it."""


class DeviceTimeError(DeviceError):
    """What ran on the device was not done in its time, and was stopped."""


class TransientError(DeviceError):
    """The connection was refused or dropped before anything ran: trying again is safe."""


CHANGED = (
    "the host key of {address} is not the one you know: the device was installed anew, or something else answers in "
    "its place; when you are sure, 'ssh-keygen -R {host}' and 'ssh {address}' once"
)
UNKNOWN_KEY = "the host key of {address} is not known yet: 'ssh {address}' once, compare its fingerprint, and accept it"
DENIED = (
    "{address} does not accept your key: 'ssh-copy-id {address}' puts it there, or name the user and the key in your "
    "~/.ssh/config; edgekd never asks for a password"
)

MISHAPS = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", CHANGED),
    ("Host key verification failed|No .* host key is known", UNKNOWN_KEY),
    ("Permission denied|Too many authentication failures", DENIED),
    (
        "Could not resolve hostname|Name or service not known",
        "no host is called {host}: look at its name, or give its address instead",
    ),
    (
        "timed out|No route to host|Network is unreachable|Host is down",
        "{address} does not answer: is it on and in this network, and is the port right?",
    ),
)
TRANSIENT = (
    (
        "Connection refused",
        "nothing answers SSH at {address}: start sshd there ('sudo systemctl start ssh'), or look at the port",
    ),
    (
        "kex_exchange|Connection reset|Connection closed|Broken pipe",
        "{address} closed the connection before it was ready: it may be starting, or refuse too many connections",
    ),
)


def failure(address: Address, said: str) -> DeviceError:
    """Why no connection came to be, from what ssh wrote to standard error."""
    for kind, table in ((DeviceError, MISHAPS), (TransientError, TRANSIENT)):
        for pattern, message in table:
            if re.search(pattern, said):
                return kind(message.format(address=address, host=address.host))
    return DeviceError(
        f"ssh cannot reach {address}: {last_line(said) or 'it said nothing'}; does 'ssh {address}' work?"
    )


def last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else ""
