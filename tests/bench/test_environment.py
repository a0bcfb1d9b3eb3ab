import json
import os
import subprocess
import sys
import time
from importlib.metadata import version

import numpy
import psutil
import pytest

from edgekd.agent.cpus import Neighbours
from edgekd.bench import environment
from edgekd.bench.environment import BUSY_SHARE, busy_warnings, cpuinfo, fingerprint, share_of, warnings_now

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


def test_a_governor_is_warned_of(monkeypatch):
    monkeypatch.setattr(environment, "governor", lambda: "powersave")
    assert "cpu_governor_not_performance" in [warning.code for warning in warnings_now(0.01)]


def test_a_busy_neighbour_is_noticed():
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.1)
        watch = Neighbours()
        time.sleep(0.5)
        assert share_of(watch.taken()) > 0.5 / psutil.cpu_count()
        codes = [warning.code for warning in busy_warnings(share_of(watch.taken()))]
    finally:
        neighbour.kill()
        neighbour.wait()
    if 0.5 / psutil.cpu_count() > BUSY_SHARE:
        assert codes == ["busy_neighbour"]


def test_the_larger_of_two_shares_counts():
    assert share_of([[8, 2], [4, 2]]) == 0.5
    assert share_of([[0, 0], [0, 0]]) == 0
