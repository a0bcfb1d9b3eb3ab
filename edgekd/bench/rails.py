"""Power rails of the INA3221 monitors in sysfs: readable without root, and more often than tegrastats reports them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

NUMBER = re.compile(r"\s*([0-9]{1,12})\s*", re.ASCII)
SUM = 7  # the monitor's seventh channel: "sum of shunt voltages"


@dataclass(frozen=True)
class RailReading:
    """A reading of a rail; ``alarm`` is whether its current is over a limit, None if the monitor does not tell."""

    name: str
    mw: float
    mv: int | None = None
    ma: int | None = None
    alarm: bool | None = None


def rails_of(files: Mapping[str, str]) -> tuple[RailReading, ...]:
    """Parse the rails of one monitor from the files of its folder, names to contents.

    JetPack 5 and up: ``in1_label``, ``in1_input`` (mV), ``curr1_input`` (mA), ``curr1_crit_alarm``,
    ``curr1_max_alarm``. JetPack 4: ``rail_name_0``, ``in_power0_input`` (mW). Channels named ``NC`` are not connected.

    >>> rails_of({"in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "1000"})
    (RailReading(name='VDD_IN', mw=5000.0, mv=5000, ma=1000, alarm=None),)
    """
    found = [hwmon(files, channel) for channel in range(1, SUM)] + [iio(files, channel) for channel in range(SUM)]
    return tuple(rail for rail in found if rail)


def hwmon(files: Mapping[str, str], channel: int) -> RailReading | None:
    name = label(files.get(f"in{channel}_label"))
    mv, ma = number(files.get(f"in{channel}_input")), number(files.get(f"curr{channel}_input"))
    if not name or mv is None or ma is None:
        return None
    alarms = [number(files.get(f"curr{channel}_{kind}_alarm")) for kind in ("crit", "max")]
    known = [alarm for alarm in alarms if alarm is not None]
    return RailReading(name, mv * ma / 1000, mv, ma, any(known) if known else None)


def iio(files: Mapping[str, str], channel: int) -> RailReading | None:
    name = label(files.get(f"rail_name_{channel}"))
    mw = number(files.get(f"in_power{channel}_input"))
    if not name or mw is None:
        return None
    mv, ma = number(files.get(f"in_voltage{channel}_input")), number(files.get(f"in_current{channel}_input"))
    return RailReading(name, float(mw), mv, ma)


def label(text: str | None) -> str | None:
    name = (text or "").strip()
    return name if name and name != "NC" and "sum of shunt" not in name else None


def number(text: str | None) -> int | None:
    match = NUMBER.fullmatch(text or "")
    return int(match[1]) if match else None
