"""A test double: a Jetson's tools and files as scripts and folders that answer as the samples of the research do.

Its ``trtexec`` writes the files that the real one writes. The times and watts in them are made up; what it answers to
given inputs is ONNX Runtime's, so that accuracies go the whole way.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

from edgekd.devices.remote import NAME
from tests.devices.jetson.samples import NV_TEGRA_RELEASE, NVPMODEL, TEGRASTATS

TRTEXEC = Path(__file__).parent / "fake_trtexec.py"
BANNER = "&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] [b26] # trtexec --help\n"
COMPATIBLE = "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0"
MW = 7500
PRELUDE = """
import sys
from pathlib import Path
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0])
from edgekd.agent import system
system.ROOT = Path({root!r})
from edgekd.agent.__main__ import main
main()
"""


class FakeJetson:
    """In ``folder``: ``bin`` for PATH, ``root`` for the system's files, ``python`` as the interpreter to name."""

    def __init__(self, folder: Path, version: str = "100300", sudo: bool = True):
        self.bin, self.root, self.clocks = folder / "bin", folder / "root", folder / "clocks.log"
        self.bin.mkdir(parents=True)
        self.cache = folder / "cache"
        self.python = folder / "python"
        self.trtexec_log = folder / "trtexec.log"
        self._answers(version, sudo)
        self._files()

    @property
    def path(self) -> str:
        return f"{self.bin}:{os.environ['PATH']}"

    def _answers(self, version: str, sudo: bool) -> None:
        tegrastats = self.bin / "tegrastats.txt"
        tegrastats.write_text(TEGRASTATS["Orin Nano, loaded, sudo"] + "\n")
        log, clocks = shlex.quote(str(self.trtexec_log)), shlex.quote(str(self.clocks))
        script(self.bin / "nvpmodel", f"printf '%s' {shlex.quote(NVPMODEL)}")
        script(self.bin / "tegrastats", f"while :; do cat {shlex.quote(str(tegrastats))}; sleep 0.05; done")
        script(self.bin / "sudo", 'shift; exec "$@"' if sudo else "exit 1")
        script(
            self.bin / "jetson_clocks",
            f'echo "$@" >> {clocks}; if [ "$1" = --store ]; then echo stored > "$2"; fi; '
            'if [ "$1" = --restore ]; then test -s "$2"; fi',
        )
        banner = shlex.quote(BANNER.format(version=version))
        script(
            self.bin / "trtexec",
            f'printf \'%s\' {banner}; echo "$@" >> {log}; exec {sys.executable} {TRTEXEC} "$@"',
        )
        # The agent's system begins in ``root``; its code is the one that every device gets.
        prelude = self.bin / "prelude.py"
        prelude.write_text(PRELUDE.format(root=str(self.root)))
        script(
            self.python,
            f"export XDG_CACHE_HOME={shlex.quote(str(self.cache))}; "
            f'if [ "$1" = {NAME} ]; then exec {sys.executable} {shlex.quote(str(prelude))} "$@"; fi; '
            f'exec {sys.executable} "$@"',
        )

    def _files(self) -> None:
        self.put("etc/nv_tegra_release", NV_TEGRA_RELEASE["R36"])
        self.put("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
        self.put("proc/device-tree/compatible", COMPATIBLE)
        self.put("proc/cpuinfo", "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\n")
        self.put("proc/meminfo", "MemTotal: 7800000 kB\nMemAvailable: 5000000 kB\n")
        monitor = "sys/bus/i2c/devices/1-0040/hwmon/hwmon1"
        self.put(f"{monitor}/name", "ina3221\n")
        self.put(f"{monitor}/in1_label", "VDD_IN\n")
        self.put(f"{monitor}/in1_input", "5000\n")
        self.put(f"{monitor}/curr1_input", f"{MW // 5}\n")
        self.put("sys/class/hwmon/hwmon0/name", "soctherm_oc\n")
        self.put("sys/class/hwmon/hwmon0/oc1_event_cnt", "0\n")
        zone = "sys/devices/virtual/thermal/thermal_zone0"
        self.put(f"{zone}/type", "tj-thermal\n")
        self.put(f"{zone}/trip_point_0_type", "passive\n")
        self.put(f"{zone}/trip_point_0_temp", "99000\n")

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def renew(self) -> None:
        """Forget what it built and what it was asked, and write the system's files as they were."""
        shutil.rmtree(self.cache, ignore_errors=True)
        for log in (self.trtexec_log, self.clocks):
            log.unlink(missing_ok=True)
        self._files()

    def engines(self) -> list[Path]:
        return sorted(self.cache.glob("edgekd/*.engine"))


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
