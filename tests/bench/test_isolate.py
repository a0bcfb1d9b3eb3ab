import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from edgekd.bench import compare_in_child, memory_in_child
from edgekd.bench.isolate import last_words, run_child
from edgekd.errors import MeasurementError

from .conftest import write_model

SLOW_JOB = {"job": "compare", "threads": 1, "seconds": 60, "reference": None}


def eventually(true, patience_s: float = 10) -> bool:
    deadline = time.monotonic() + patience_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(true())


def test_child_compares_on_its_own_cpus(light, heavy):
    records = compare_in_child({"light": light, "heavy": heavy}, "light", threads=1, seconds=0.3)
    assert records["heavy"].latency_vs_reference["ci95"][0] > 1.3
    assert len(records["light"].cpus) == 1


def test_peak_memory_holds_the_weights_and_not_the_parent(tmp_path):
    parent_has = bytearray(400 << 20)
    model = write_model(tmp_path / "large.onnx", width=3072)
    record = memory_in_child(model)
    weights = 3072 * 3072 * 4
    assert weights <= record.peak_rss_bytes - record.baseline_rss_bytes < 5 * weights
    assert record.peak_rss_bytes < len(parent_has)


def test_refusals_arrive_as_the_childs_own_line(tmp_path):
    with pytest.raises(MeasurementError, match=r"^no such file: [^\n]*none\.onnx; give") as caught:
        compare_in_child({"none": tmp_path / "none.onnx"})
    assert "\n" not in str(caught.value)


def test_a_crash_says_its_last_line():
    with pytest.raises(MeasurementError, match=r"^KeyError: 'dance'$"):
        run_child({"job": "dance"}, 30)


def test_a_killed_child_is_explained():
    assert "SIGKILL; the system may have run out of memory" in last_words(-signal.SIGKILL, "")
    assert last_words(-signal.SIGSEGV, "a\nlast line\n").endswith("SIGSEGV: last line")


def test_time_out_leaves_no_child(light):
    with pytest.raises(MeasurementError, match="not done after 1 s"):
        run_child({**SLOW_JOB, "paths": {"light": str(light)}}, 1)
    assert not [child for child in psutil.Process().children() if "edgekd.bench.child" in child.cmdline()]


def test_child_ends_with_its_parent(light):
    job = {**SLOW_JOB, "paths": {"light": str(light)}}
    code = f"from edgekd.bench.isolate import run_child; run_child({job!r}, 60)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    children: list[psutil.Process] = []
    assert eventually(lambda: children.extend(psutil.Process(parent.pid).children()) or children)
    child = children[0]
    time.sleep(0.5)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_nothing_in_the_working_directory_is_imported(light, tmp_path, monkeypatch):
    (tmp_path / "statistics.py").write_text("raise RuntimeError('a user file, not the library')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert memory_in_child(light).peak_rss_bytes > 0


@pytest.mark.parametrize(
    ("imports", "absent"),
    [
        ("edgekd.bench.statistics", {"torch", "onnxruntime", "onnx", "psutil"}),
        ("edgekd.bench.isolate", {"torch", "onnxruntime", "onnx"}),
        ("edgekd.bench.latency, edgekd.bench.child, edgekd.bench.memory", {"torch", "onnx"}),
        ("edgekd.cli.bench", {"torch", "onnxruntime", "onnx", "numpy"}),
    ],
)
def test_what_an_import_does_not_bring(imports, absent):
    code = f"import {imports}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not absent & set(loaded.split())


def test_public_names_are_there():
    import edgekd.bench

    named = {name for names in edgekd.bench.HOME.values() for name in names}
    assert named == set(edgekd.bench.__all__)
    assert all(getattr(edgekd.bench, name) for name in named)
    with pytest.raises(AttributeError):
        edgekd.bench.no_such_name  # noqa: B018
