"""The runner by itself: on this Python, and by the rules of 3.8."""

import ast
import json
import subprocess
import sys

import numpy as np
import pytest

from edgekd.devices.remote import RUNNER
from edgekd.devices.runner import REDUCTIONS, taken
from edgekd.tasks.registry import TASKS
from edgekd.tasks.signature import LOGITS


def runner(request: dict[str, object], python: str = sys.executable) -> list[dict]:
    process = subprocess.Popen([python, str(RUNNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    with process:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    return events


def test_python_3_8_and_nothing_of_edgekd():
    tree = ast.parse(RUNNER.read_text(), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"numpy", "onnxruntime"}


def test_probe_on_this_machine():
    device, done = runner({"job": "probe"})
    assert device["python"]["version"] == sys.version.split()[0]
    assert device["cores"] >= 1 and device["free_disk_bytes"] > 0
    assert done == {"event": "done"}


def test_a_failure_is_told_not_thrown():
    [event] = runner({"job": "predictions", "samples": "absent.npz", "models": {}, "threads": 1})
    assert event["event"] == "failed"
    assert event["why"].startswith("FileNotFoundError: ") and "absent.npz" in event["why"]


@pytest.mark.parametrize("name", TASKS)
def test_its_reductions_are_what_tasks_keep_of_outputs(name):
    task = TASKS[name](("a", "b", "c", "d"))
    logits = np.random.default_rng(0).normal(size=(50, 4)).round(1).astype(np.float32)
    logits[[3, 7, 9], [0, 1, 2]] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(REDUCTIONS[task.reduction](logits), task.to_rows({LOGITS: logits}), strict=True)


def test_the_end_of_its_input_ends_it():
    process = subprocess.Popen([sys.executable, str(RUNNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.communicate(timeout=20)[0] == b""
    assert process.returncode == 1


STAT = """\
cpu  300 0 100 1600 0 0 0 0 0 0
cpu0 200 0 50 750 0 0 0 0 0 0
cpu1 100 0 50 800 50 0 0 0 0 0
intr 1
"""


def test_what_others_took_of_a_machine_and_of_some_cpus(tmp_path, monkeypatch):
    monkeypatch.setattr("edgekd.devices.runner.ROOT", str(tmp_path))
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/stat").write_text(STAT)
    # utime 90 and stime 30, behind a name that has spaces and brackets.
    (tmp_path / "proc/7/stat").write_text("7 (a (b) c) S 1 7 7 0 -1 4194304 1 0 0 0 90 30 0 0 20 0 1 0 5 1 1\n")
    assert taken([7], [0]) == [[2000, 400 - 120], [1000, 250 - 120]]
    assert taken([8], []) == [[2000, 400], [0, 0]]
    (tmp_path / "proc/stat").unlink()
    assert taken([], [0]) == [[0, 0], [0, 0]]
