"""The machine and software that a measurement belongs to, and what on them makes it unreliable."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from edgekd.bench.records import MeasurementWarning
from edgekd.strict_json import known_to_json

PACKAGES = ("edgekd", "numpy", "onnx", "onnxruntime", "openvino", "tensorrt", "torch", "torchvision", "torchao")

# What the runtimes choose their int8, bf16 and float kernels by, as Linux spells it on x86 and Arm.
FLAGS = (
    *("avx2", "avx_vnni", "avx_vnni_int8", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"),
    *("amx_int8", "amx_bf16", "fma"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)

BUSY_SHARE = 0.1

Times = NDArray[np.float64]


@dataclass(frozen=True)
class CpuFacts:
    """A machine's processor; what cannot be read is None. ``flags`` are those that runtimes choose kernels by."""

    model: str
    architecture: str
    flags: list[str] | None = None
    logical_cores: int | None = None
    physical_cores: int | None = None
    affinity: list[int] | None = None
    governor: str | None = None

    def to_json(self) -> dict[str, Any]:
        return known_to_json(self)


@dataclass(frozen=True)
class Environment:
    """This machine and the software on it; ``packages`` has the versions of those that are installed."""

    cpu: CpuFacts
    memory_bytes: int
    load_average: list[float]
    os: str
    kernel: str
    python: str
    packages: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "cpu": self.cpu.to_json()}


def fingerprint() -> Environment:
    """Return this machine and the versions on it. Imports no package that it names."""
    return Environment(
        cpu=cpu(),
        memory_bytes=psutil.virtual_memory().total,
        load_average=[round(load, 2) for load in psutil.getloadavg()],
        os=operating_system(),
        kernel=platform.release(),
        python=platform.python_version(),
        packages=packages(),
    )


def cpu() -> CpuFacts:
    about = cpuinfo()
    words = set((about.get("flags") or about.get("Features") or "").split())
    return CpuFacts(
        model=about.get("model name") or device_tree_model() or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        flags=[flag for flag in FLAGS if flag in words],
        logical_cores=psutil.cpu_count(),
        physical_cores=psutil.cpu_count(logical=False),
        affinity=affinity(),
        governor=governor(),
    )


def cpuinfo(path: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Return the entries of the first processor."""
    if not path.exists():
        return {}
    first = path.read_text(errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def device_tree_model(path: Path = Path("/proc/device-tree/model")) -> str | None:
    """Return the board's name for itself; Arm's cpuinfo has no model name."""
    return path.read_text(errors="replace").strip("\0\n ") if path.exists() else None


def affinity() -> list[int] | None:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def usable_cpus() -> int:
    return len(affinity() or []) or os.cpu_count() or 1


def governor(cpus: Path = Path("/sys/devices/system/cpu")) -> str | None:
    """Return the frequency governors in use, joined by commas, or None if the kernel shows none."""
    names = {path.read_text().strip() for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    return ",".join(sorted(names)) or None


def operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.platform(terse=True)


def packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Neighbours:
    """A watch on how much of the machine others use: processes other than this one and ``pids``.

    With ``cpus``, to which ``pids`` are pinned, the share of these counts where it is larger: on a large machine one
    process on the CPU that is measured on is a small share of the whole.
    """

    def __init__(self, pids: Sequence[int] = (), cpus: Sequence[int] = ()) -> None:
        self.ours, self.cpus = [os.getpid(), *pids], cpus
        self.started = self.now()

    def now(self) -> Times:
        own = sum(map(cpu_seconds, self.ours))
        each = psutil.cpu_times(percpu=True)
        here = [each[cpu] for cpu in self.cpus if cpu < len(each)]
        return np.array([seconds(each, own), seconds(here, own)])

    def taken(self) -> Times:
        """Return seconds in all and seconds used by others, of the machine and of ``cpus``, since this was made.

        They add up over launches.
        """
        return self.now() - self.started

    def share(self) -> float:
        """Return the share that others used, 0 to 1; what the hypervisor took counts as others."""
        return share_of(self.taken())

    def warnings(self) -> list[MeasurementWarning]:
        return busy_warnings(self.share())


def seconds(cpus: "Sequence[psutil._common.scputimes]", own: float) -> list[float]:
    # Linux counts a guest's time in user and nice as well.
    total = sum(sum(cpu) - getattr(cpu, "guest", 0.0) - getattr(cpu, "guest_nice", 0.0) for cpu in cpus)
    idle = sum(cpu.idle + getattr(cpu, "iowait", 0.0) for cpu in cpus)
    return [total, total - idle - own]


def share_of(taken: Times) -> float:
    return max(min(1.0, max(0.0, others / total)) if total > 0 else 0.0 for total, others in taken)


def busy_warnings(share: float) -> list[MeasurementWarning]:
    if share <= BUSY_SHARE:
        return []
    message = f"others kept {share:.0%} of the CPUs busy: stop them, or trust the ratios only"
    return [MeasurementWarning("busy_neighbour", message)]


def cpu_seconds(pid: int) -> float:
    spent = psutil.Process(pid).cpu_times()
    return spent.user + spent.system


def throttle_events(cpus: Path = Path("/sys/devices/system/cpu")) -> int:
    """Return how often the processor has slowed itself for heat since boot, as far as it counts that."""
    counters = cpus.glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    return sum(int(counter.read_text()) for counter in counters)


def throttle_warnings(events: int) -> list[MeasurementWarning]:
    message = f"the processor was slowed for its heat {events} times: cool it, or lower its power limit"
    return [MeasurementWarning("throttled", message)] if events else []


def governor_warnings(name: str | None) -> list[MeasurementWarning]:
    """Warn of governors other than performance; ``name`` is as :func:`governor` returns it."""
    if name in (None, "performance"):
        return []
    message = f"the CPU governor is {name}, so the clock follows the load: 'cpupower frequency-set -g performance'"
    return [MeasurementWarning("cpu_governor_not_performance", message)]


def warnings_now(seconds: float = 0.3) -> list[MeasurementWarning]:
    """Return the warnings that a measurement started now would get, after watching for ``seconds``."""
    neighbours = Neighbours()
    time.sleep(seconds)
    return governor_warnings(governor()) + neighbours.warnings()
