"""Energy of the processor packages, read from the counters that Linux exposes (RAPL on Intel and AMD)."""

from pathlib import Path

from edgekd.errors import MeasurementError

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """A meter of the joules that all processor packages took since it was made, whatever ran on them.

    A counter wraps around after some 65 or 262 kJ, minutes at full power. The meter corrects one wrap between two
    readings: read it more often than that. Raises :class:`MeasurementError` if there is no readable counter.
    """

    def __init__(self, powercap: Path = POWERCAP):
        self._packages = packages(powercap)
        self._last = [microjoules(package) for package in self._packages]
        self._sum = 0

    def joules(self) -> float:
        """Return the joules taken so far."""
        now = [microjoules(package) for package in self._packages]
        for package, before, after in zip(self._packages, self._last, now, strict=True):
            self._sum += after - before if after >= before else after - before + counter_range(package)
        self._last = now
        return self._sum / 1e6


def packages(powercap: Path = POWERCAP) -> list[Path]:
    """Return the counters of whole packages: cores, graphics and memory are zones within one, psys holds them all."""
    zones = (zone for zone in sorted(powercap.glob("intel-rapl:*")) if (zone / "name").is_file())
    found = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
    if not found:
        raise MeasurementError(
            f"{powercap} has no energy counter of a processor package: a virtual machine, a container or this "
            "processor hides it; measure energy on bare x86 Linux with the module intel_rapl_msr loaded"
        )
    return found


def microjoules(package: Path) -> int:
    return read_number(package / "energy_uj")


def counter_range(package: Path) -> int:
    # The counter takes the value of its range too.
    return read_number(package / "max_energy_range_uj") + 1


def read_number(path: Path) -> int:
    try:
        return int(path.read_text())
    except PermissionError as error:
        raise MeasurementError(f"{path} is for root alone; 'sudo chmod a+r {path}' lets everyone read it") from error
    except (OSError, ValueError) as error:
        raise MeasurementError(f"{path} does not hold a number of microjoules: {error}; leave energy out") from error
