import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from typing import NamedTuple

import numpy
import numpy as np
import psutil
import pytest

from edgekd.bench import environment
from edgekd.bench.environment import BUSY_SHARE, Neighbours, cpuinfo, fingerprint, governor, warnings_now

pytestmark = pytest.mark.timing

ARM = """processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes asimdhp asimddp
CPU implementer\t: 0x41

processor\t: 1
BogoMIPS\t: 31.25
"""


def test_fingerprint_is_json_and_true():
    found = json.loads(json.dumps(fingerprint().to_json(), allow_nan=False))
    assert found["packages"]["numpy"] == numpy.__version__
    assert found["packages"]["onnxruntime"] == version("onnxruntime")
    assert found["cpu"]["affinity"] == sorted(os.sched_getaffinity(0))
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert None not in found["cpu"].values()


def test_absent_packages_are_absent(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    assert environment.packages() == {"numpy": numpy.__version__}


def test_first_processor_of_an_arm_board(tmp_path):
    (tmp_path / "cpuinfo").write_text(ARM)
    found = cpuinfo(tmp_path / "cpuinfo")
    assert found["BogoMIPS"] == "62.50"
    assert "asimddp" in found["Features"].split()
    assert cpuinfo(tmp_path / "none") == {}


def test_governors(tmp_path, monkeypatch):
    assert governor(tmp_path) is None
    for cpu, name in (("cpu0", "performance"), ("cpu1", "powersave")):
        (tmp_path / cpu / "cpufreq").mkdir(parents=True)
        (tmp_path / cpu / "cpufreq/scaling_governor").write_text(name + "\n")
    assert governor(tmp_path) == "performance,powersave"
    monkeypatch.setattr(environment, "governor", lambda: "powersave")
    assert "cpu_governor_not_performance" in [warning.code for warning in warnings_now(0.01)]


def test_a_busy_neighbour_is_noticed():
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.1)
        watch = Neighbours()
        time.sleep(0.5)
        assert watch.share() > 0.5 / psutil.cpu_count()
        codes = [warning.code for warning in watch.warnings()]
    finally:
        neighbour.kill()
        neighbour.wait()
    if 0.5 / psutil.cpu_count() > BUSY_SHARE:
        assert codes == ["busy_neighbour"]


def test_own_work_is_no_neighbour(monkeypatch):
    """Eight seconds of all CPUs, six of them busy, four of these our own; of the measured CPU half was taken."""
    readings = iter([np.array([[100.0, 30.0], [50.0, 10.0]]), np.array([[108.0, 32.0], [54.0, 12.0]])])
    monkeypatch.setattr(Neighbours, "now", lambda self: next(readings))
    assert Neighbours().share() == max((6 - 4) / 8, 2 / 4)


def test_seconds_of_a_machine():
    class Cpu(NamedTuple):
        user: float
        idle: float
        iowait: float
        guest: float

    assert environment.seconds([Cpu(5, 4, 1, 2), Cpu(3, 7, 0, 0)], own=1.5) == [20.0, 20 - 12 - 1.5]
