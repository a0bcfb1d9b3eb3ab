"""The agent as the one file that a device gets: on this Python, and by the rules of 3.8."""

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekd.agent import cpus, system
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.runner import request_of
from edgekd.devices.agent_archive import agent_archive, members
from edgekd.devices.latency import model_there
from edgekd.devices.probe import PROBE
from tests.bench.conftest import write_model

# Imported where they are needed; without onnx a file's open dimensions have no names in OpenVINO.
RUNTIMES = {"onnxruntime", "openvino", "onnx"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("agent") / "agent.pyz"
    path.write_bytes(agent_archive())
    return path


def answers(archive, request: dict[str, object], *more: dict[str, object], python: str = sys.executable) -> list[dict]:
    process = subprocess.Popen([python, str(archive)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    with process:
        for line in (request, *more):
            process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    return events


def test_its_bytes_are_those_of_the_code(archive):
    assert agent_archive() == archive.read_bytes()
    assert len(agent_archive()) < 100_000


@pytest.mark.parametrize("path", members(), ids=lambda path: path.stem)
def test_python_3_8_and_the_standard_library(path, archive):
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    others = {name for name in names if name.split(".")[0] not in {*sys.stdlib_module_names, "numpy", *RUNTIMES}}
    with zipfile.ZipFile(archive) as packed:
        within = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in packed.namelist()}
    assert others <= within | {"edgekd"}, "it imports what is not in the archive"


def test_probe_on_this_machine(archive):
    device, done = answers(archive, PROBE)
    assert device["python"]["version"] == sys.version.split()[0]
    assert device["cores"] >= 1 and device["free_disk_bytes"] > 0
    assert done == {"event": "done"}


def test_a_plan_is_carried_out_from_the_archive(archive, tmp_path):
    path = write_model(tmp_path / "a.onnx", width=8)
    plan = Plan({"a": Workload(str(path))}, seconds=0.02, launches=1, warmup_s=0.01)
    models = {"a": model_there(plan.workloads["a"], str(path))}
    *doing, launch, done = answers(archive, request_of(plan, models), {"more": False})
    assert [each["activity"] for each in doing] == [
        *("starting", "loading and the first inference", "the warm-up"),
        *("a block of inferences", "the copies to and from the device"),
        *(["its power"] if launch["power"] else []),
    ]
    assert all(each["lost_ns"] <= sum(each["ns"]) for each in launch["rounds"]["a"])
    assert launch["opened"]["a"]["providers"] == ["CPUExecutionProvider"]
    assert done == {"event": "done"}


def test_a_failure_is_told_not_thrown(archive):
    job = {"job": "edgekd.agent.predictions:predict", "samples": "absent.npz", "models": {}, "threads": 1}
    [event] = answers(archive, job)
    assert event["event"] == "failed"
    assert event["why"].startswith("FileNotFoundError: ") and "absent.npz" in event["why"]


def test_a_model_that_does_not_load_is_named(archive, tmp_path):
    (tmp_path / "b.onnx").write_bytes(b"none")
    plan = Plan({"b": Workload(str(tmp_path / "b.onnx"))}, launches=1)
    *_, event = answers(archive, request_of(plan, {"b": model_there(plan.workloads["b"], str(tmp_path / "b.onnx"))}))
    assert event["model"] == "b" and "does not load in ONNX Runtime" in event["why"]


def test_the_end_of_its_input_ends_it(archive):
    process = subprocess.Popen([sys.executable, str(archive)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.communicate(timeout=20)[0] == b""
    assert process.returncode == 1


STAT = """\
cpu  300 0 100 1600 0 0 0 0 0 0
cpu0 200 0 50 750 0 0 0 0 0 0
cpu1 100 0 50 800 50 0 0 0 0 0
intr 1
"""


def test_what_others_took_of_a_machine_and_of_some_cpus(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "ROOT", tmp_path)
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/stat").write_text("cpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n")
    watch = cpus.Neighbours([7], [0])
    (tmp_path / "proc/stat").write_text(STAT)
    # utime 90 and stime 30, behind a name that has spaces and brackets.
    (tmp_path / "proc/7/stat").write_text("7 (a (b) c) S 1 7 7 0 -1 4194304 1 0 0 0 90 30 0 0 20 0 1 0 5 1 1\n")
    assert watch.taken() == [[2000, 400 - 120], [1000, 250 - 120]]
    (tmp_path / "proc/stat").unlink()
    assert cpus.Neighbours([], [0]).taken() == [[0, 0], [0, 0]]


def test_governors(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "ROOT", tmp_path)
    assert cpus.governor() is None
    for cpu, name in (("cpu0", "performance"), ("cpu1", "powersave")):
        folder = tmp_path / "sys/devices/system/cpu" / cpu / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(name + "\n")
    assert cpus.governor() == "performance,powersave"


def python_3_8() -> str | None:
    """Return an interpreter of Python 3.8: the one that is named, one of pyenv's, or the one on the path."""
    pyenv = sorted((Path.home() / ".pyenv/versions").glob("3.8.*/bin/python"))
    found = [os.environ.get("EDGEKD_PYTHON38"), *map(str, pyenv), shutil.which("python3.8")]
    return next((each for each in found if each), None)


@pytest.mark.skipif(python_3_8() is None, reason="no Python 3.8 here: EDGEKD_PYTHON38 names one")
def test_a_real_python_3_8_imports_all_of_it(archive):
    """Whatever its NumPy and its runtimes are: what they are needed for is left out here."""
    code = (
        "import importlib, sys, zipfile\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "for name in zipfile.ZipFile(sys.argv[1]).namelist():\n"
        "    try:\n"
        "        importlib.import_module(name[:-3].replace('/', '.').replace('.__init__', ''))\n"
        "    except Exception as error:\n"
        "        assert str(error).startswith(('No module named', 'OpenVINO is not installed')), error\n"
        "        assert any(each in str(error) for each in ('numpy', 'onnxruntime', 'openvino')), error\n"
        "print(sys.version_info[:2])\n"
    )
    command = [str(python_3_8()), "-c", code.replace("namelist()", "namelist()[1:]"), str(archive)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "(3, 8)\n"
    device, done = answers(archive, PROBE, python=str(python_3_8()))
    assert device["python"]["version"].startswith("3.8.") and done == {"event": "done"}


@pytest.mark.slow
@pytest.mark.skipif(python_3_8() is None, reason="no Python 3.8 here: EDGEKD_PYTHON38 names one")
def test_a_real_python_3_8_times_and_predicts(archive, tmp_path):
    """With the NumPy and the ONNX Runtime that were made for it, which are installed from the registry."""
    subprocess.run([str(python_3_8()), "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv/bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", "numpy", "onnxruntime"], check=True, stderr=subprocess.PIPE)
    path = write_model(tmp_path / "a.onnx", width=8)
    plan = Plan({"a": Workload(str(path)), "b": Workload(str(path))}, seconds=0.1, launches=1, threads=2)
    models = {name: model_there(workload, str(path)) for name, workload in plan.workloads.items()}
    *_, launch, done = answers(archive, request_of(plan, models), {"more": False}, python=python)
    assert done == {"event": "done"} and launch["rounds"]["a"][0]["ns"]
    samples = np.random.default_rng(0).random((40, 8), dtype=np.float32)
    np.savez(tmp_path / "samples.npz", inputs=samples)
    job = {"job": "edgekd.agent.predictions:predict", "samples": str(tmp_path / "samples.npz"), "threads": 1}
    about = {"models": {"a": models["a"]}, "outputs": {"a": ["logits"]}, "reductions": {"a": {"kind": "all"}}}
    *rows, done = answers(archive, {**job, **about}, python=python)
    assert [row["first"] for row in rows] == [0, 32] and done == {"event": "done"}
