"""Runtimes on a device: which releases are there, which can be measured, and how to get what is missing."""

from dataclasses import dataclass

from edgekd.devices.facts import DeviceFacts
from edgekd.profiles import FILE_RUNTIMES
from edgekd.runtime import RUNTIMES, Runtime


@dataclass(frozen=True)
class RuntimeProbe:
    """The probe of a runtime that is a package of the device's Python."""

    runtime: Runtime

    def release(self, facts: DeviceFacts) -> str | None:
        """Return the release that is on the device, or None."""
        there = facts.python.packages
        return next((there[package] for package in self.runtime.packages if package in there), None)

    def can_run(self, facts: DeviceFacts) -> bool:
        """Tell whether models can be timed in it."""
        return self.release(facts) is not None

    def missing(self, facts: DeviceFacts) -> list[str]:
        """Return what is missing besides packages, each with the way to get it."""
        return []


def runtime_probes() -> list[RuntimeProbe]:
    """Return the probes of the runtimes that files are written for."""
    runtimes = [RUNTIMES[name] for name in FILE_RUNTIMES]
    return [each.part("probe").PROBE if each.has("probe") else RuntimeProbe(each) for each in runtimes]


def other_releases(facts: DeviceFacts) -> dict[str, str | None]:
    """Return the releases of runtimes that are no packages of the device's Python, by the runtimes' names."""
    return {each.runtime.name: each.release(facts) for each in runtime_probes() if each.runtime.has("probe")}
