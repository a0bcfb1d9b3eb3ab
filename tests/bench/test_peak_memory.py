import signal
import subprocess
import sys

import pytest

from edgekd.agent.child import failure_message
from edgekd.bench import Workload, memory
from edgekd.bench.local_agent import ask_once
from edgekd.errors import MeasurementError

from .conftest import write_model


def test_peak_memory_holds_the_weights_and_not_the_parent(tmp_path):
    parent_has = bytearray(400 << 20)
    record = memory(Workload(str(write_model(tmp_path / "large.onnx", width=3072))))
    weights = 3072 * 3072 * 4
    assert weights <= record.peak_rss_bytes - record.baseline_rss_bytes < 5 * weights
    assert record.peak_rss_bytes < len(parent_has)


def test_refusals_arrive_as_the_childs_own_line(tmp_path):
    with pytest.raises(MeasurementError, match=r"^no such file: [^\n]*none\.onnx; give[^\n]*$"):
        memory(Workload(str(tmp_path / "none.onnx")))


def test_a_crash_says_its_last_line(light):
    with pytest.raises(MeasurementError, match="TypeError"):
        ask_once("memory", {"workload": Workload(str(light)).to_json(), "legs": 4}, "light", "dancing")


def test_a_killed_child_is_explained():
    assert "SIGKILL; the system may have run out of memory" in failure_message(-signal.SIGKILL, "")
    assert failure_message(-signal.SIGSEGV, "a\nlast line\n").endswith("SIGSEGV: last line")


def test_what_a_library_prints_is_not_taken_for_an_answer(tmp_path):
    (tmp_path / "loud.py").write_text(
        "import torch\n"
        "class Loud(torch.nn.Identity):\n"
        "    def forward(self, x):\n"
        "        print('{\"result\": 3}')\n"
        "        return x\n"
    )
    workload = Workload(f"{tmp_path / 'loud.py'}:Loud", "pytorch", shape=(1, 3))
    assert memory(workload).peak_rss_bytes > 0


def test_nothing_in_the_working_directory_is_imported(light, tmp_path, monkeypatch):
    for name in ("bisect", "queue", "random", "statistics", "types", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a user file, not the library')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert memory(Workload(str(light))).peak_rss_bytes > 0


@pytest.mark.parametrize(
    ("imports", "absent"),
    [
        ("edgekd.stats.ratios", {"torch", "onnxruntime", "onnx", "psutil"}),
        ("edgekd.bench.runner, edgekd.bench.peak_memory", {"torch", "onnxruntime", "onnx"}),
        ("edgekd.runtimes.onnxruntime.session, edgekd.agent.child", {"torch", "onnx"}),
        ("edgekd.cli.bench, edgekd.cli.workloads", {"torch", "onnxruntime", "onnx", "numpy"}),
    ],
)
def test_what_an_import_does_not_bring(imports, absent):
    code = f"import {imports}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not absent & set(loaded.split())


def test_public_names_are_there():
    import edgekd.bench

    assert all(getattr(edgekd.bench, name) for name in edgekd.bench.__all__)
    with pytest.raises(AttributeError):
        edgekd.bench.no_such_name  # noqa: B018
