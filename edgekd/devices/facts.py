"""Facts that a device reports of itself, checked: it may be broken, or not the device that it claims to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekd.bench.events import Event, integer, text
from edgekd.runtime import DEFAULT, RUNTIMES

CORES = 1 << 16
# What the runner needs there; of others it says whether they are there.
NEEDED = ("numpy", *RUNTIMES[DEFAULT].packages)
PACKAGES = tuple(
    dict.fromkeys((*NEEDED, *(name for each in RUNTIMES.values() if each.devices for name in each.packages)))
)


@dataclass(frozen=True)
class PythonFacts:
    """The device's Python: versions of the ``packages`` that load, and why the ``broken`` ones do not."""

    version: str
    executable: str
    externally_managed: bool
    packages: Mapping[str, str]
    broken: Mapping[str, str]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "PythonFacts":
        packages = {name: text(document[name], f"python.{name}") for name in PACKAGES if name in document}
        fails = {name: f"{name}_fails" for name in PACKAGES if f"{name}_fails" in document}
        return cls(
            text(document["version"], "python.version"),
            text(document["executable"], "python.executable"),
            bool(document.get("externally_managed")),
            packages,
            {name: text(document[key], f"python.{key}") for name, key in fails.items()},
        )


@dataclass(frozen=True)
class JetsonFacts:
    """Raw output of NVIDIA's tools and files on a Jetson, empty where there is none; ``rails`` by monitor."""

    nv_tegra_release: str = ""
    l4t_package: str = ""
    compatible: str = ""
    trtexec: str = ""
    trtexec_banner: str = ""
    nvpmodel: str = ""
    sudo: bool = False
    rails: tuple[Mapping[str, str], ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "JetsonFacts":
        names = ("nv_tegra_release", "l4t_package", "compatible", "trtexec", "trtexec_banner", "nvpmodel")
        texts = {name: text(document.get(name, ""), f"jetson.{name}") for name in names}
        rails = tuple(
            {name: text(content, f"jetson.rails.{name}") for name, content in files.items()}
            for files in document.get("rails", [])
        )
        return cls(**texts, sudo=bool(document.get("sudo")), rails=rails)


@dataclass(frozen=True)
class DeviceFacts:
    """The facts that edgekd uses; ``document`` holds all of them as the device sent them."""

    architecture: str
    system: str
    cpu: str
    cores: int
    free_disk_bytes: int
    board: str
    gpu: str
    memory_bytes: int
    python: PythonFacts
    jetson: JetsonFacts
    document: Event

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "DeviceFacts":
        """Read what an agent sent; raise ValueError or its like if it cannot be what an agent sends."""
        for name in ("governor", "kernel"):
            text(document.get(name, ""), name)
        integer(document.get("free_memory_bytes", 0), "free_memory_bytes")
        return cls(
            **{name: text(document[name], name) for name in ("architecture", "system", "cpu")},
            **{name: text(document.get(name, ""), name) for name in ("board", "gpu")},
            cores=integer(document["cores"], "cores", 1, CORES),
            free_disk_bytes=integer(document["free_disk_bytes"], "free_disk_bytes"),
            memory_bytes=integer(document.get("memory_bytes", 0), "memory_bytes"),
            python=PythonFacts.from_json(document["python"]),
            jetson=JetsonFacts.from_json(document.get("jetson", {})),
            document=document,
        )
