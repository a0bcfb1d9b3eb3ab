"""The device registry: a JSON file of the devices that the user has named. ``cpu`` and ``cuda`` are always known."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekd.devices.address import Address, parse_address
from edgekd.errors import DeviceError, EdgekdError, first_line
from edgekd.files import locked, read_object, write_json
from edgekd.nearest import among
from edgekd.user_cache import home_folder

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
VERSION = 1
# What processes that change it wait for.
LIST = "the list of devices"


@dataclass(frozen=True)
class Device:
    """A device: ``ssh`` is ``[user@]host[:port]``, absent for this machine's own; ``python`` its interpreter.

    ``power_mode`` is the one to measure in: times of a device in another mode are invalid, and no mode is ever set.
    ``ssh_config`` is a configuration file to use instead of the user's own. The predictions of an ``emulated``
    device are its processor's; its times mean nothing, and every record of them says so.
    """

    name: str
    ssh: str | None = None
    python: str = "python3"
    power_mode: str | None = None
    ssh_config: str | None = None
    emulated: bool = False

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise DeviceError(
                f"{self.name!r} is no name for a device: letters, digits, '.', '-' and '_', such as orin-8gb"
            )
        if not self.python or self.python.startswith("-"):
            raise DeviceError(f"{self.python!r} is no Python; --python names an interpreter on {self.name}")
        if self.ssh is not None:
            parse_address(self.ssh)
        if self.ssh_config is not None and not Path(self.ssh_config).is_file():
            raise DeviceError(f"{self.name}: there is no ssh configuration {self.ssh_config}; name one that is there")

    @property
    def address(self) -> Address:
        if self.ssh is None:
            raise DeviceError(f"{self.name} is this machine itself and has no address")
        return parse_address(self.ssh)


def replace_command(device: Device) -> str:
    """Return the command that changes the registry's entry to ``device``."""
    words = ["edgekd", "devices", "add", device.name, "--replace", "--ssh", device.ssh or "", "--python", device.python]
    words += ["--power-mode", device.power_mode] if device.power_mode else []
    words += ["--ssh-config", device.ssh_config] if device.ssh_config else []
    return shlex.join([*words, *(["--emulated"] if device.emulated else [])])


LOCAL = {name: Device(name) for name in ("cpu", "cuda")}


def registry_path() -> Path:
    """Return ``EDGEKD_DEVICES``, or ``edgekd/devices.json`` in the user's configuration folder."""
    if named := os.environ.get("EDGEKD_DEVICES"):
        return Path(named)
    given = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification has relative paths ignored.
    folder = Path(given) if Path(given).is_absolute() else home_folder() / ".config"
    return folder / "edgekd" / "devices.json"


def devices(path: Path | None = None) -> dict[str, Device]:
    """Return all devices by name, this machine's own first."""
    path = path or registry_path()
    if not path.exists():
        return dict(LOCAL)
    try:
        content = read_object(path, "give a list that 'edgekd devices add' wrote")
        if content["schema_version"] != VERSION:
            raise ValueError(f"its schema is {content['schema_version']}, not {VERSION}")
        named = [Device(**{"name": name, **entry}) for name, entry in content["devices"].items()]
    except (EdgekdError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeviceError(
            f"{path} is no list of devices ({type(error).__name__}: {first_line(error)}); correct it, or move it away "
            "and add the devices again"
        ) from error
    return {**LOCAL, **{device.name: device for device in named}}


def find_device(name: str, path: Path | None = None) -> Device:
    """Return the device called ``name``.

    Raises:
        DeviceError: no such device is registered.
    """
    known = devices(path)
    if name not in known:
        there = among(name, known, "'edgekd devices list' lists all")
        raise DeviceError(
            f"no device is called {name!r}{there}; "
            f"'edgekd devices add {name if NAME.fullmatch(name) else 'NAME'} --ssh user@host' adds one"
        )
    return known[name]


def add_device(device: Device, replace: bool = False, path: Path | None = None) -> None:
    """Add ``device`` to the registry; ``replace`` allows it to replace the one of the same name."""
    path = path or registry_path()
    if device.name in LOCAL:
        raise DeviceError(f"{device.name} is this machine's own; give the new device another name")
    with locked(path, LIST):
        known = devices(path)
        if device.name in known and not replace:
            raise DeviceError(f"there is a device called {device.name} already; another name, or --replace")
        write_json(path, document({**known, device.name: device}))


def remove_device(name: str, path: Path | None = None) -> None:
    """Remove the device called ``name`` from the registry.

    Raises:
        DeviceError: no such device is registered, or it is this machine's own.
    """
    path = path or registry_path()
    if name in LOCAL:
        raise DeviceError(f"{name} is this machine's own and stays; 'edgekd devices list' shows all")
    find_device(name, path)
    with locked(path, LIST):
        known = devices(path)
        known.pop(name, None)
        write_json(path, document(known))


def document(known: Mapping[str, Device]) -> dict[str, object]:
    entries = {}
    for name, device in known.items():
        if name not in LOCAL:
            facts = {
                key: value for key, value in asdict(device).items() if value not in (None, False) and key != "name"
            }
            entries[name] = facts
    return {"schema_version": VERSION, "devices": entries}
