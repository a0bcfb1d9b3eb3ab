"""Facts of the machine that this runs on, for the caller to parse."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.agent import gpu
from edgekd.agent.cpus import usable_cpus
from edgekd.agent.lines import one_line
from edgekd.agent.rails import rail_folders, texts
from edgekd.agent.system import ROOT, output_of, system_text

TRTEXEC = "/usr/src/tensorrt/bin/trtexec"

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekd.agent.lines import Conversation


def probe(request: dict[str, Any], conversation: Conversation) -> None:
    """Send the facts of the machine, of its Python and of its Jetson."""
    facts = {**machine(), "python": software(request["packages"]), "jetson": jetson(), "clock": time.time()}
    conversation.send({"event": "device", **facts})


def machine() -> dict[str, Any]:
    total, free = memory()
    about = {
        "architecture": platform.machine(),
        "system": system(),
        "kernel": platform.release(),
        "board": system_text("/proc/device-tree/model"),
        "cpu": cpu_model(),
        "gpu": gpu.names(),
        "cores": len(usable_cpus()),
        "governor": system_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": total,
        "free_memory_bytes": free,
        "free_disk_bytes": shutil.disk_usage(".").free,
    }
    return {key: value for key, value in about.items() if value is not None}


def software(packages: Sequence[str]) -> dict[str, Any]:
    about: dict[str, Any] = {"version": platform.python_version(), "executable": sys.executable}
    # PEP 668: pip refuses to install into it.
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix == sys.base_prefix and marker.exists():
        about["externally_managed"] = True
    for name in packages:
        try:
            module = __import__(name)
            about[name] = module.__version__
            if name == "onnxruntime":
                about["providers"] = module.get_available_providers()
        except Exception as error:
            # A wheel for another processor fails in as many ways as there are processors.
            if not isinstance(error, ModuleNotFoundError):
                about[name + "_fails"] = one_line(error)
    return about


def jetson() -> dict[str, Any]:
    """Return the raw output of NVIDIA's tools and files; the caller parses it."""
    trtexec = TRTEXEC if (ROOT / TRTEXEC.lstrip("/")).exists() else shutil.which("trtexec")
    reported = {
        "nv_tegra_release": system_text("/etc/nv_tegra_release"),
        "compatible": system_text("/proc/device-tree/compatible"),
        "l4t_package": output_of(["dpkg-query", "--show", "nvidia-l4t-core"], succeeds=True),
        "trtexec": trtexec,
        "trtexec_banner": output_of([trtexec, "--help"]) if trtexec else None,
        "nvpmodel": output_of(["nvpmodel", "-q"]),
        "tegrastats": shutil.which("tegrastats"),
        "sudo": sudo() or None,
        "rails": [texts(folder) for folder in rail_folders()],
    }
    return {key: value for key, value in reported.items() if value}


def sudo() -> bool:
    try:
        words = ["sudo", "-n", "true"]
        return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def system() -> str:
    for line in (system_text("/etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def cpu_model() -> str:
    lines = (line.partition(":") for line in (system_text("/proc/cpuinfo") or "").splitlines())
    about = {key.strip(): value.strip() for key, _, value in lines}
    return about.get("model name") or about.get("Model") or platform.processor() or platform.machine()


def memory() -> tuple[int | None, int | None]:
    lines = (line.partition(":") for line in (system_text("/proc/meminfo") or "").splitlines())
    about = {key: int(value.split()[0]) * 1024 for key, _, value in lines if value.split()[:1]}
    return about.get("MemTotal"), about.get("MemAvailable")
