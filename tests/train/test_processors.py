import os
import subprocess
import sys

import pytest

from edgekd.train.processors import Processors, look_around, quota


@pytest.mark.parametrize(
    ("usable", "busy", "threads", "fitting"),
    [
        (2, 0, 2, 2),
        (2, 0.4, 2, 2),
        (2, 0.6, 2, 1),
        (2, 2, 2, 1),
        (8, 1, 8, 4),
        (8, 5, 8, 2),
        (8, 8, 8, 1),
        (64, 9, 8, 8),
    ],
)
def test_threads_are_halved_until_processors_are_free(usable, busy, threads, fitting):
    assert Processors(usable, busy).fitting(threads) == fitting


def test_a_busy_process_is_seen_and_this_one_is_not():
    cpu = min(os.sched_getaffinity(0))
    spin = f"import os; os.sched_setaffinity(0, [{cpu}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            found = look_around(0.3)
        finally:
            process.kill()
    assert 0.8 < found.busy <= found.usable <= len(os.sched_getaffinity(0))


def test_the_quota_of_a_container_counts(tmp_path):
    groups, own = tmp_path / "groups", tmp_path / "cgroup"
    (groups / "slice/own").mkdir(parents=True)
    own.write_text("0::/slice/own\n")
    assert quota(own, groups) == float("inf")
    (groups / "slice/own/cpu.max").write_text("max 100000\n")
    (groups / "slice/cpu.max").write_text("150000 100000\n")
    assert quota(own, groups) == 1.5
    own.write_text("0::/of/the/host\n")
    (groups / "cpu.max").write_text("300000 100000\n")
    assert quota(own, groups) == 3


def test_the_quota_of_the_first_version_counts(tmp_path):
    groups, own = tmp_path / "groups", tmp_path / "cgroup"
    (groups / "cpu/own").mkdir(parents=True)
    own.write_text("4:memory:/elsewhere\n3:cpu,cpuacct:/own\n0::/\n")
    for name, value in (("quota", "-1"), ("period", "100000")):
        (groups / f"cpu/own/cpu.cfs_{name}_us").write_text(value)
    assert quota(own, groups) == float("inf")
    (groups / "cpu/own/cpu.cfs_quota_us").write_text("50000")
    assert quota(own, groups) == 0.5
    assert quota(tmp_path / "none", groups) == float("inf")
