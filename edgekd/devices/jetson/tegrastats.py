"""A parser for the output lines of ``tegrastats``, JetPack 4 to 7."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

OFFLINE_C = -256.0
MEMORIES = ("RAM", "SWAP", "IRAM", "CPU")  # never the names of a rail or an engine, also not in a cut line


@dataclass(frozen=True)
class EngineLoad:
    """A clocked unit's load; ``mhz`` has a value per cluster and is empty without root, ``percent`` may be absent."""

    on: bool = True
    percent: int | None = None
    mhz: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rail:
    """A rail's power in milliwatts now, and averaged since tegrastats was started: integrate the first."""

    mw: int
    average_mw: int


@dataclass
class Tegrastats:
    """The values of a line; those that it lacks are None or absent.

    Memory is in MB of 2^20 bytes, ``largest_free_mb`` the largest free block times their number. ``cpus`` has an entry
    for each core. Temperatures are in °C under lower-case names, without those of sensors that are switched off and
    of the PMIC, which is a constant.
    """

    time: datetime | None = None
    ram_used_mb: int | None = None
    ram_total_mb: int | None = None
    largest_free_mb: float | None = None
    swap_used_mb: int | None = None
    swap_total_mb: int | None = None
    cpus: tuple[EngineLoad, ...] = ()
    engines: dict[str, EngineLoad] = field(default_factory=dict)
    temperatures_c: dict[str, float] = field(default_factory=dict)
    rails: dict[str, Rail] = field(default_factory=dict)

    @property
    def gpu(self) -> EngineLoad | None:
        return self.engines.get("GR3D")


def parse_tegrastats(line: str) -> Tegrastats:
    """Parse ``line``, which must be complete: a number that was cut short is a number too.

    >>> parse_tegrastats("RAM 1655/3956MB GR3D_FREQ 40%@921 CPU@39C POM_5V_IN 2132/2050").rails
    {'POM_5V_IN': Rail(mw=2132, average_mw=2050)}
    """
    found, position = Tegrastats(), 0
    while position < len(line):
        for pattern, keep in FIELDS:
            match = pattern.match(line, position)
            if match:
                keep(found, match)
                position = match.end()
                break
        else:
            position = next_word(line, position)
    return found


def next_word(line: str, position: int) -> int:
    word = NEXT_WORD.match(line, position)
    return word.end() if word else len(line)


def keep_time(found: Tegrastats, match: re.Match[str]) -> None:
    month, day, year, hour, minute, second = map(int, match.groups())
    try:
        found.time = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return


def keep_ram(found: Tegrastats, match: re.Match[str]) -> None:
    used, total, blocks, size, unit = match.groups()
    found.ram_used_mb, found.ram_total_mb = int(used), int(total)
    if blocks:
        found.largest_free_mb = int(blocks) * int(size) / (1024 if unit == "k" else 1)


def keep_swap(found: Tegrastats, match: re.Match[str]) -> None:
    found.swap_used_mb, found.swap_total_mb = int(match[1]), int(match[2])


def keep_nothing(found: Tegrastats, match: re.Match[str]) -> None:
    pass


def keep_cpus(found: Tegrastats, match: re.Match[str]) -> None:
    cores = [core_of(item) for item in match[1].split(",")]
    # One that cannot be read would give its neighbours' numbers to others.
    found.cpus = tuple(core for core in cores if core) if all(cores) else ()


def core_of(item: str) -> EngineLoad | None:
    if item == "off":
        return EngineLoad(on=False)
    match = CORE.fullmatch(item)
    return EngineLoad(True, int(match[1]), (int(match[2]),)) if match and int(match[1]) <= 100 else None


def keep_temperature(found: Tegrastats, match: re.Match[str]) -> None:
    name, degrees = match[1].lower(), float(match[2])
    if degrees > OFFLINE_C and name != "pmic":
        found.temperatures_c[name] = degrees


def keep_rail(found: Tegrastats, match: re.Match[str]) -> None:
    if match[1] not in ("NC", *MEMORIES):
        found.rails[match[1]] = Rail(int(match[2]), int(match[3]))


def keep_engine(found: Tegrastats, match: re.Match[str]) -> None:
    name, off, percent_at, clocks, percent, bare = match.groups()
    load = percent_at or percent
    if name in MEMORIES or (load and int(load) > 100):
        return
    mhz = tuple(int(clock) for clock in (clocks or bare or "").strip("[]").split(",") if clock)
    found.engines[name] = EngineLoad(not off, int(load) if load else None, mhz)


# No number is longer than a processor's longest counter, so that no line makes one that Python refuses to convert.
N = "([0-9]{1,9})"
NAME = r"([A-Za-z][A-Za-z0-9_-]{0,30}?)"
END = r"(?=\s|$)"


def field_of(expression: str) -> re.Pattern[str]:
    return re.compile(expression + END, re.ASCII)


NEXT_WORD = re.compile(r"\S*\s*", re.ASCII)
CORE = re.compile(f"{N}%@{N}", re.ASCII)
TEMPERATURE = r"(-?[0-9]{1,4}(?:\.[0-9]{1,6})?)C"
CLOCKS = r"([0-9]{1,9}|\[[0-9]{1,9}(?:,[0-9]{1,9})*\])"

# The whole of a field or nothing of it: half of ``GR3D_FREQ 0%@[1300,1300]`` would be a load without a clock.
FIELDS: tuple[tuple[re.Pattern[str], Callable[[Tegrastats, re.Match[str]], None]], ...] = (
    (field_of("([0-9]{2})-([0-9]{2})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})"), keep_time),
    (field_of(rf"RAM {N}/{N}MB(?: \(lfb {N}x{N}([kM])B\))?"), keep_ram),
    (field_of(rf"SWAP {N}/{N}MB(?: \(cached [0-9]{{1,9}}MB\))?"), keep_swap),
    (field_of(rf"IRAM {N}/{N}kB ?(?:\(lfb {N}kB\))?"), keep_nothing),
    (field_of(r"CPU \[([^\]]*)\]"), keep_cpus),
    (field_of(rf"{NAME}@{TEMPERATURE}(?:/{TEMPERATURE})?"), keep_temperature),
    (field_of(rf"{NAME} {N}mW/{N}mW(?:/{N}mW)?"), keep_rail),
    (field_of(rf"{NAME} {N}/{N}"), keep_rail),
    (field_of(rf"{NAME}(?:_FREQ)? (?:(off)|(?:{N}%)?@{CLOCKS}|{N}%|{N})"), keep_engine),
)
