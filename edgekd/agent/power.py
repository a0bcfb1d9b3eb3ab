"""Power of one model at a time: inferences in a row that are not timed, while sensors are read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from edgekd.agent.cpus import Neighbours
from edgekd.agent.rails import Watch, rail_folders, texts
from edgekd.agent.system import system_files, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgekd.agent.child import Child

POWERCAP = "/sys/class/powercap"
COUNTER_FILES = ("energy_uj", "max_energy_range_uj")
INTERVAL_S = 0.05
# Of the inferences that count, and of those before and after them: a sensor shows the mean of some milliseconds.
WINDOW_S, EDGE_S = 0.5, 0.1
# With so many launches two seconds of a model's power are known; further ones are for the sake of times.
POWERED_LAUNCHES = 4


def power_windows(
    children: Mapping[str, Child], cpus: Sequence[int], on_gpu: bool, say: Callable[[str, str], None]
) -> dict[str, object] | None:
    """Return for each model a window of inferences and the readings of the sensor meanwhile, or None without a sensor.

    ``taken`` are ticks in all and those of others, of the machine and of ``cpus``: their power is in the readings.
    """
    found = sensor(on_gpu)
    if found is None:
        return None
    kind, read = found
    neighbours, windows = Neighbours([child.pid for child in children.values()], cpus), {}
    for name, child in children.items():
        say(name, "its power")
        with Watch(read, INTERVAL_S) as watch:
            window = child.ask("work", seconds=WINDOW_S, edge_s=EDGE_S)
        windows[name] = {**window, "readings": watch.readings}
    return {"sensor": kind, "windows": windows, "taken": neighbours.taken()}


def sensor(on_gpu: bool = False) -> tuple[str, Callable[[], Any]] | None:
    """Return what this process can read of the power that a model takes, and the call that reads it; None for nothing.

    Rails of a Jetson come first: they are the whole module's. The counters of processors leave out a GPU.
    """
    folders = rail_folders()
    if folders:
        return "rails", lambda: [texts(folder) for folder in folders]
    packages = {} if on_gpu else counters()
    return ("counters", partial(read_counters, packages)) if packages else None


def counters() -> dict[str, Path]:
    """Return the energy counters of processor packages that may be read, by their names (RAPL of Intel and AMD).

    Cores, graphics and memory are zones within a package, and psys holds them all.
    """
    named = ((text_of(zone / "name") or "", zone) for zone in system_files(POWERCAP, "intel-rapl:*"))
    packages = {name: zone for name, zone in named if name.startswith("package")}
    return packages if all(text_of(zone / "energy_uj") for zone in packages.values()) else {}


def read_counters(packages: Mapping[str, Path]) -> dict[str, dict[str, str | None]]:
    return {name: {file: text_of(zone / file) for file in COUNTER_FILES} for name, zone in packages.items()}
