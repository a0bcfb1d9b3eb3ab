import os
import subprocess
import sys
import time

import pytest

from edgekd.agent import cpus, system
from edgekd.agent.cpus import quietest, siblings

pytestmark = pytest.mark.timing


def test_never_more_than_there_are():
    assert quietest(10_000) == sorted(os.sched_getaffinity(0))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is no choice on one CPU")
def test_a_hogged_cpu_is_left_alone():
    hogged = min(os.sched_getaffinity(0))
    spin = f"import os\nos.sched_setaffinity(0, [{hogged}])\nwhile True: pass"
    hog = subprocess.Popen([sys.executable, "-c", spin])
    try:
        time.sleep(0.3)
        assert quietest(1, seconds=0.5) != [hogged]
    finally:
        hog.kill()
        hog.wait()


def test_whole_cores_come_before_their_twins(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cpus, "busy_shares", lambda _: {2: 0.9})
    monkeypatch.setattr(cpus, "siblings", lambda cpu: {cpu, cpu ^ 1})
    assert quietest(2) == [0, 4]
    assert quietest(4) == [0, 3, 4, 6]
    assert quietest(6) == [0, 1, 3, 4, 5, 6]


@pytest.mark.parametrize(("text", "expected"), [("0,4\n", {0, 4}), ("0-1\n", {0, 1}), ("0-1,8-9", {0, 1, 8, 9})])
def test_siblings_as_linux_writes_them(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(system, "ROOT", tmp_path)
    topology = tmp_path / "sys/devices/system/cpu/cpu0/topology"
    topology.mkdir(parents=True)
    (topology / "thread_siblings_list").write_text(text)
    assert siblings(0) == expected
    assert siblings(7) == {7}
