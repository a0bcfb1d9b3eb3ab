"""The power mode from ``nvpmodel``, and the clocks from ``jetson_clocks --show``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MODE = re.compile(r"^NV Power Mode: ([^\r\n]+?)[ \t]*\r?\n[ \t]*([0-9]{1,4})[ \t]*\r?$", re.ASCII | re.MULTILINE)
LISTED = re.compile(r"^POWER_MODEL: ID=([0-9]{1,4}) NAME=(\S+)[ \t]*\r?$", re.ASCII | re.MULTILINE)
SOC = re.compile(r"^SOC family:(\S+)\s+Machine:(.+?)\s*$", re.MULTILINE)
ONLINE = re.compile(r"^Online CPUs: ([0-9,-]+)\s*$", re.ASCII | re.MULTILINE)
UNIT = re.compile(r"^([A-Za-z]\w*):? ([^\r\n]*\bMinFreq=[^\r\n]*)$", re.ASCII | re.MULTILINE)
PAIR = re.compile(r"\b(\w+)=([\w.-]+)(?=\s|$)", re.ASCII)
WHOLE = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True)
class PowerMode:
    id: int
    name: str


def parse_power_mode(text: str) -> PowerMode | None:
    """Parse ``nvpmodel -q``: the mode in force. Warnings around the two lines are skipped.

    >>> parse_power_mode("NV Power Mode: MAXN" + chr(10) + "0")
    PowerMode(id=0, name='MAXN')
    """
    match = MODE.search(text)
    return PowerMode(int(match[2]), match[1]) if match else None


def parse_power_modes(text: str) -> tuple[PowerMode, ...]:
    """Parse ``nvpmodel -p --verbose``: the modes that the board has."""
    return tuple(PowerMode(int(number), name) for number, name in LISTED.findall(text))


@dataclass(frozen=True)
class ClockRange:
    """A clock in the tool's own units: kHz for CPUs, MHz for memory."""

    lowest: int
    highest: int
    current: int
    online: bool = True
    governor: str | None = None

    @property
    def locked(self) -> bool:
        return self.lowest == self.highest == self.current


@dataclass(frozen=True)
class Clocks:
    """Clocks by unit: ``cpu0`` and so on, ``GPU`` and ``EMC``, as far as the tool lists them."""

    soc: str | None = None
    machine: str | None = None
    online_cpus: tuple[int, ...] = ()
    units: dict[str, ClockRange] = field(default_factory=dict)

    @property
    def locked(self) -> bool | None:
        """Return whether the clock of every online unit is fixed, or None if none is listed."""
        online = [clock for clock in self.units.values() if clock.online]
        return all(clock.locked for clock in online) if online else None


def parse_clocks(text: str) -> Clocks:
    """Parse ``jetson_clocks --show``, which needs root; what it leaves out is absent."""
    family, cpus = SOC.search(text), ONLINE.search(text)
    units = {name: clock for name, rest in UNIT.findall(text) if (clock := clock_of(rest))}
    return Clocks(family[1] if family else None, family[2] if family else None, numbers(cpus[1]) if cpus else (), units)


def clock_of(rest: str) -> ClockRange | None:
    pairs = dict(PAIR.findall(rest))
    values = [pairs.get(key, "") for key in ("MinFreq", "MaxFreq", "CurrentFreq")]
    if not all(WHOLE.fullmatch(value) for value in values):
        return None
    lowest, highest, current = map(int, values)
    return ClockRange(lowest, highest, current, pairs.get("Online", "1") != "0", pairs.get("Governor"))


def numbers(ranges: str) -> tuple[int, ...]:
    """Parse a list of CPUs such as ``0-3,6``; return nothing if it is none."""
    found: list[int] = []
    for part in ranges.split(","):
        low, _, high = part.partition("-")
        if not WHOLE.fullmatch(low) or (high and not WHOLE.fullmatch(high)) or int(high or low) > 4095:
            return ()
        found += range(int(low), int(high or low) + 1)
    return tuple(found)
