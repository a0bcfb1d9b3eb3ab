"""Probing a device: what it is, what it can run, and what is missing."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

from edgekd.bench.events import Event, number, reading_response
from edgekd.bench.rails import rails_of
from edgekd.devices.facts import NEEDED, PACKAGES, DeviceFacts, PythonFacts
from edgekd.devices.jetson.power_mode import PowerMode, parse_power_mode
from edgekd.devices.jetson.release import Release, compute_capability, parse_l4t_package, parse_nv_tegra_release
from edgekd.devices.registry import Device, replace_command
from edgekd.devices.remote import Remote
from edgekd.devices.runtime_probe import other_releases, runtime_probes
from edgekd.errors import DeviceError
from edgekd.runtime import RUNTIMES

PROBE = {"job": "edgekd.agent.probe:probe", "packages": PACKAGES}
CLOCK_OFF_S = 2.0
LITTLE_DISK = 200e6
GB = 1e9
MODE = "MODE_"
# Facts by which two devices of one name are told apart.
IDENTIFYING = ("board", "cpu", "cores", "architecture", "system", "kernel", "python")


@dataclass(frozen=True)
class Probe:
    """The result of probing a device. ``clock_ahead_s`` is the least that its clock is wrong by."""

    device: Device
    facts: DeviceFacts
    clock_ahead_s: float = 0.0
    release: Release | None = None
    power_mode: PowerMode | None = None
    rails: tuple[str, ...] = field(default=())

    @property
    def can_run(self) -> list[str]:
        """Return the runtimes in which ``edgekd bench --device`` can time models on the device."""
        return [each.runtime.name for each in runtime_probes() if each.can_run(self.facts)]

    @property
    def in_other_mode(self) -> str | None:
        """Return what is wrong with the power mode, or None if it is the registered one or none is registered."""
        wanted, found = self.device.power_mode, self.power_mode
        if wanted is None:
            return None
        if found is None:
            return f"power mode {wanted}: 'nvpmodel -q' does not show which it is in; leave the mode out of its entry"
        if wanted.removeprefix(MODE) in (found.name.removeprefix(MODE), str(found.id)):
            return None
        return f"power mode {wanted}: it is in {found.name}; 'sudo nvpmodel -m' sets it"

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "device": self.device.name,
            "facts": self.facts.document,
            "clock_ahead_s": self.clock_ahead_s,
            "can_run": self.can_run,
            "missing": missing(self),
        }
        if self.device.emulated:
            document["emulated"] = True
        if self.release:
            document["l4t"] = self.release.l4t
            document["jetpack"] = self.release.jetpack
        document |= other_releases(self.facts)
        if self.power_mode:
            document["power_mode"] = self.power_mode.name
        if self.rails:
            document["power_rails"] = list(self.rails)
        return {key: value for key, value in document.items() if value is not None}

    def identity_to_json(self) -> dict[str, Any]:
        """Return as JSON the facts by which times and predictions there are told from another device's."""
        versions = {
            **other_releases(self.facts),
            "l4t": self.release.l4t if self.release else None,
            "power_mode": self.power_mode.name if self.power_mode else None,
        }
        return {**versions, **{name: self.facts.document.get(name) for name in IDENTIFYING}}


def probe(device: Device, timeout_s: float = 120) -> Probe:
    """Probe ``device``, which must have an address, through its agent; nothing is changed there."""
    with Remote(device) as remote:
        return probe_remote(remote, timeout_s)


def probe_remote(remote: Remote, timeout_s: float = 120) -> Probe:
    """Probe a device through a connection that is open."""
    started = time.time()
    for event in remote.events(PROBE, timeout_s):
        with reading_response(remote.device.name):
            clock = number(event["clock"], "the time")
            return parse_probe(remote.device, event, clock_ahead(started, clock, time.time()))
    raise DeviceError(f"{remote.device.name} sent no facts of itself; try again")


def clock_ahead(before: float, there: float, after: float) -> float:
    """Return the seconds by which a clock is ahead at least, negative for behind.

    The clock was read ``there`` between two readings of ours, ``before`` and ``after``.
    """
    return 0.0 if before <= there <= after else there - (after if there > after else before)


def parse_probe(device: Device, document: Event, clock_ahead_s: float = 0.0) -> Probe:
    """Read what the agent sent; raise ValueError or its like if it cannot be what an agent sends."""
    facts = DeviceFacts.from_json(document)
    jetson = facts.jetson
    return Probe(
        device,
        facts,
        clock_ahead_s,
        parse_nv_tegra_release(jetson.nv_tegra_release) or parse_l4t_package(jetson.l4t_package),
        parse_power_mode(jetson.nvpmodel),
        tuple(rail.name for files in jetson.rails for rail in rails_of(files)),
    )


def describe(found: Probe) -> list[str]:
    """Return lines of text: what the device is, what it can run, what is missing."""
    facts, runs = found.facts, " and ".join(found.can_run) or "nothing that edgekd can measure"
    return [
        f"{found.device.name}: {facts.board or f'{facts.architecture} machine'}"
        + (", emulated: its times mean nothing" * found.device.emulated),
        *(["  " + jetson_line(found)] if found.release else []),
        f"  {facts.cpu}, {facts.cores} cores, {memory(facts)}",
        f"  {facts.system}, Python {facts.python.version}{packages(facts.python)}",
        f"  can run: {runs}",
        *(f"  missing: {line}" for line in missing(found)),
    ]


def jetson_line(found: Probe) -> str:
    assert found.release is not None
    parts = [f"JetPack {found.release.jetpack}" if found.release.jetpack else None, f"Jetson Linux {found.release.l4t}"]
    parts += [f"{RUNTIMES[name].title} {release}" for name, release in other_releases(found.facts).items() if release]
    capability = compute_capability(found.facts.jetson.compatible)
    parts.append(f"GPU of compute capability {capability}" if capability else None)
    parts.append(f"power mode {found.power_mode.name}" if found.power_mode else None)
    return ", ".join(part for part in parts if part)


def memory(facts: DeviceFacts) -> str:
    ram = f"{facts.memory_bytes / GB:.1f} GB memory, " if facts.memory_bytes else ""
    return f"{ram}{facts.free_disk_bytes / GB:.1f} GB free disk"


def packages(python: PythonFacts) -> str:
    return "".join(f", {name} {version}" for name, version in python.packages.items())


def missing(found: Probe) -> list[str]:
    """Return what is missing, each with the way to get it."""
    lines = missing_packages(found)
    lines += [line for each in runtime_probes() for line in each.missing(found.facts)]
    if found.facts.free_disk_bytes < LITTLE_DISK:
        lines.append(f"disk: {found.facts.free_disk_bytes / 1e6:.0f} MB are free, models and engines need more")
    if abs(found.clock_ahead_s) > CLOCK_OFF_S:
        way = "ahead" if found.clock_ahead_s > 0 else "behind"
        lines.append(
            f"the time: its clock is {span(abs(found.clock_ahead_s))} {way}; 'sudo timedatectl set-ntp 1' there"
        )
    if found.in_other_mode:
        lines.append(found.in_other_mode)
    return lines


def missing_packages(found: Probe) -> list[str]:
    python = found.facts.python
    lines = [f"{name} is there and does not load: {reason}" for name, reason in python.broken.items()]
    absent = [name for name in NEEDED if name not in python.packages and name not in python.broken]
    if not absent:
        return lines
    if not python.externally_managed:
        install = f"'{python.executable} -m pip install {' '.join(absent)}' there"
        return [*lines, f"{' and '.join(absent)}: {install}"]
    there = f"'{python.executable} -m venv edge && edge/bin/pip install {' '.join(NEEDED)}' there"
    here = replace_command(replace(found.device, python="PATH/edge/bin/python"))
    return [*lines, f"{' and '.join(absent)}: the system's Python takes no packages, so {there}, and '{here}' here"]


def span(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
