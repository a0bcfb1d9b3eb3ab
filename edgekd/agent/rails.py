"""Sensors of a board while it works: power rails, ``tegrastats``, over-current counters, temperatures of zones."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgekd.agent.system import system_files, text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RAIL_FILES = ("in", "curr", "rail", "update_interval")
TEGRASTATS_MS = 200
LIBC: Any = ctypes.CDLL(None) if os.name == "posix" else None
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def rail_folders() -> list[Path]:
    """Return the folders of the INA3221 monitors, as the kernels of JetPack 4 and of JetPack 5 and later show them."""
    new = system_files("/sys/bus/i2c/devices", "*/hwmon/hwmon*")
    old = system_files("/sys/bus/i2c/drivers/ina3221x", "*/iio:device*")
    return [*(folder for folder in new if text_of(folder / "name") == "ina3221"), *old]


def texts(folder: Path) -> dict[str, str]:
    """Return the contents of the folder's small files, which hold values and names."""
    names = (path for path in sorted(folder.iterdir()) if path.name.startswith(RAIL_FILES))
    return {path.name: text for path, text in ((path, text_of(path)) for path in names) if text is not None}


class Watch:
    """Readings of a sensor, each with its time, from the beginning of the ``with`` block to its end.

    Args:
        read: reads the sensor once.
        interval_s: the seconds between one reading's end and the next one's beginning.
    """

    def __init__(self, read: Callable[[], Any], interval_s: float):
        self.readings: list[Any] = []
        self._read, self._interval_s = read, interval_s
        self._done, self._thread = threading.Event(), threading.Thread(target=self._sample)

    def __enter__(self) -> Watch:
        self._take()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._take()

    def _take(self) -> None:
        self.readings.append([time.monotonic(), self._read()])

    def _sample(self) -> None:
        while not self._done.wait(self._interval_s):
            self._take()


class PowerWatch:
    """Samples of the power rails and of ``tegrastats``, each with its time."""

    def __init__(self, interval_s: float):
        folders = rail_folders()
        self.watch = Watch(lambda: [texts(folder) for folder in folders], interval_s) if folders else None
        self.lines: list[Any] = []
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def rails(self) -> list[Any]:
        return self.watch.readings if self.watch else []

    def __enter__(self) -> PowerWatch:
        if shutil.which("tegrastats"):
            words = ["tegrastats", "--interval", str(TEGRASTATS_MS)]
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                preexec_fn=dying_with_parent(),
            )  # fmt: skip
            self.listener = threading.Thread(target=self._listen)
            self.listener.start()
        if self.watch:
            self.watch.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self.watch:
            self.watch.__exit__()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.listener.join()

    def _listen(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        for raw in self.process.stdout:
            if raw.endswith(b"\n"):
                self.lines.append([time.monotonic(), raw.decode(errors="replace").rstrip()])


def dying_with_parent() -> Callable[[], None]:
    """Return what a new process calls between fork and exec, to end when this one does."""
    parent = os.getpid()

    def prepare() -> None:
        with suppress(AttributeError):  # Linux alone has it
            LIBC.prctl(DIE_WITH_PARENT, 9)
        # Of a parent that has ended before, nobody would tell.
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def over_current() -> dict[str, int]:
    """Return how often each over-current alarm of the board went off since boot."""
    counts = {}
    for folder in system_files("/sys/class/hwmon", "hwmon*"):
        if text_of(folder / "name") == "soctherm_oc":
            for path in sorted(folder.glob("oc*_event_cnt")):
                text = text_of(path) or ""
                if text.isdigit():
                    counts[path.name.partition("_")[0]] = int(text)
    return counts


def thermal_limits() -> dict[str, float]:
    """Return the temperatures at which zones throttle the board: their first passive trip points."""
    limits: dict[str, float] = {}
    for zone in system_files("/sys/devices/virtual/thermal", "thermal_zone*"):
        for path in sorted(zone.glob("trip_point_*_type")):
            degrees = text_of(path.with_name(path.name.replace("_type", "_temp"))) or ""
            if text_of(path) == "passive" and degrees.lstrip("-").isdigit():
                # tegrastats names a zone without its ending.
                name = (text_of(zone / "type") or zone.name).lower()
                limits.setdefault(re.sub("[-_]therm(al)?$", "", name), int(degrees) / 1000)
    return limits
