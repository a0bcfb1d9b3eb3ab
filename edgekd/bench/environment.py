"""The machine and software that a measurement belongs to, and what on them makes it unreliable."""

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

from edgekd.agent.cpus import Neighbours, governor, pinned_to
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
        affinity=pinned_to(),
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


def share_of(taken: Sequence[Sequence[float]] | Times) -> float:
    """Return the share that others used, 0 to 1, by :meth:`~edgekd.agent.cpus.Neighbours.taken`: the larger of two."""
    return max(min(1.0, max(0.0, others / total)) if total > 0 else 0.0 for total, others in taken)


def busy_warnings(share: float) -> list[MeasurementWarning]:
    if share <= BUSY_SHARE:
        return []
    message = (
        f"others kept {share:.0%} of the CPUs busy: costs and ratios are without what they took, latencies are with it"
    )
    return [MeasurementWarning("busy_neighbour", message)]


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
    return governor_warnings(governor()) + busy_warnings(share_of(neighbours.taken()))
