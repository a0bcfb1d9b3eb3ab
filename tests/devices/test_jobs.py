"""Latency and predictions through a real sshd, on this machine's own Python."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgekd.arrayfiles import read_npz
from edgekd.bench.plan import Plan, Workload
from edgekd.bench.records import ClockRecord
from edgekd.bundle.session import BundleSession
from edgekd.devices.latency import measure_on_device
from edgekd.devices.predictions import (
    DevicePredictions,
    PredictionsSoFar,
    outputs_on_device,
    pack,
    predict_on_device,
)
from edgekd.devices.probe import parse_probe
from edgekd.devices.registry import Device
from edgekd.devices.remote import Remote
from edgekd.errors import DeviceError, MeasurementError
from edgekd.runtimes.tensorrt.remote.predictions import predict_with_engines
from edgekd.tasks.classification import Classification
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.signature import LOGITS
from tests.bench.conftest import write_model
from tests.bundle.models import named_samples, picture_and_tokens
from tests.devices.fake_jetson import MW, FakeJetson
from tests.devices.server import Server
from tests.devices.test_events import ToldStream, repr_json

FACTS = {
    **{"architecture": "aarch64", "system": "Debian", "cpu": "Cortex-A76", "cores": 4, "free_disk_bytes": 10**9},
    "python": {"version": "3.11.2", "executable": "/usr/bin/python3"},
}
FOUND = parse_probe(Device("desk", "board"), FACTS)


@pytest.fixture
def remote(clean) -> Iterator[Remote]:
    with Remote(Device("desk", "board", sys.executable, ssh_config=str(clean.config))) as there:
        yield there


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("odd name; 'quoted'")
    return {
        "one": write_model(folder / "one layer; x.onnx", width=128),
        "six": write_model(folder / "six'layers.onnx", width=128, layers=6),
    }


def plan(files: dict[str, Path], **more: object) -> Plan:
    workloads = {name: Workload(str(path)) for name, path in files.items()}
    return Plan(workloads, "one", **{"seconds": 0.6, "max_seconds": 0.6, "launches": 6, "warmup_s": 0.02, **more})  # type: ignore[arg-type]


def test_latency_there(remote, files):
    found = measure_on_device(remote, plan(files))
    assert len(found["six"].raw_ns) == 6
    flat = np.concatenate([np.concatenate(launch) for launch in map(list, found["six"].raw_ns)])
    assert found["six"].latency_ms.n == len(flat)
    assert found["six"].latency_ms.p50 == pytest.approx(np.median(flat) / 1e6, rel=0.05)
    ratio = found["six"].latency_vs_reference
    assert ratio is not None and ratio.ratio > 1 and ratio.ci95 is not None
    assert found["one"].latency_vs_reference is None
    assert found["one"].providers == ["CPUExecutionProvider"]
    assert found["one"].load_ms > 0 and len(found["one"].cpus or []) == 1


def test_the_power_and_the_clock_of_a_jetson_while_onnx_runtime_works(tmp_path, files):
    jetson = FakeJetson(tmp_path / "jetson")
    for cpu in range(max(os.sched_getaffinity(0)) + 1):
        jetson.put(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq", "729600\n")
    server = Server(tmp_path, path=jetson.path).start()
    try:
        with Remote(Device("orin", "board", str(jetson.python), ssh_config=str(server.config))) as there:
            asked = plan({"one": files["one"]}, seconds=0.1, max_seconds=0.1, launches=1)
            found = measure_on_device(there, asked)["one"]
        assert server.left_behind() == []
    finally:
        server.stop()
    assert found.energy is not None and found.energy.rails == ("VDD_IN",)
    assert found.energy.watts == pytest.approx(MW / 1000)
    assert 0.5 <= found.energy.n * found.energy.joules / found.energy.watts < 1.5, "for half a second"
    assert found.clock_mhz == ClockRecord(729.6, 729.6, 729.6)


@pytest.fixture
def spinning() -> Iterator[None]:
    """Every CPU kept busy by somebody else."""
    program = "import os, sys\nos.sched_setaffinity(0, [int(sys.argv[1])])\nwhile True: pass"
    others = [subprocess.Popen([sys.executable, "-c", program, str(cpu)]) for cpu in os.sched_getaffinity(0)]
    yield
    for other in others:
        other.kill()
        other.wait()


def test_what_else_runs_there_is_told(remote, files, spinning):
    """By one launch: what is told is of the machine, and as long as it is kept busy, other tests wait too."""
    asked = plan({"one": files["one"]}, seconds=0.2, max_seconds=0.2, launches=1)
    found = measure_on_device(remote, asked, probe=FOUND)
    assert "busy_neighbour" in {warning.code for warning in found["one"].warnings}


@pytest.mark.parametrize(
    ("taken", "governor", "codes"),
    [
        ([[1000, 20], [500, 10]], "performance", set()),
        ([[1000, 20], [500, 200]], "performance", {"busy_neighbour"}),
        ([[1000, 20], [500, 10]], "schedutil", {"cpu_governor_not_performance"}),
        ([[0, 0], [0, 0]], None, {"neighbours_not_seen"}),
    ],
)
def test_what_a_device_says_of_itself_meanwhile(remote, files, taken, governor, codes, monkeypatch):
    about = {"load_ms": 1.0, "first_ms": 1.0, "batch": 1, "cpus": [0], "providers": []}
    block = {"ns": [1000] * 3, "lost_ns": 0, "waited_ns": 0, "switches": 0, "pool": 0}
    launch = {
        **{"event": "launch", "shielded": None, "throttled": 0, "taken": taken, "governor": governor, "gpu": []},
        **{"power": None, "clock_khz": {name: [] for name in files}},
        **{"opened": dict.fromkeys(files, about), "transfers": {name: {} for name in files}},
        "rounds": {name: [block] * 5 for name in files},
    }
    monkeypatch.setattr(remote, "stream", lambda *_: ToldStream([repr_json(launch)] * 6 + [b'{"event": "done"}']))
    found = measure_on_device(remote, plan(files), probe=FOUND)
    assert {warning.code for warning in found["six"].warnings} == codes


def test_other_runtimes_are_refused(remote, files):
    with pytest.raises(MeasurementError, match="pytorch on cpu is not timed through SSH"):
        measure_on_device(remote, Plan({"x": Workload(str(files["one"]), "pytorch")}))


NAMES = tuple(map(str, range(128)))


@pytest.mark.parametrize(
    "task", [Classification(NAMES), Multilabel(NAMES, thresholds=(0.3,) * 128)], ids=["classes", "labels"]
)
def test_predictions_are_those_of_this_machine(remote, files, task):
    inputs = np.random.default_rng(0).normal(size=(75, 128)).astype(np.float32)
    inputs[40] = np.nan
    inputs[41, 0] = np.inf
    found = predict_on_device(remote, "onnxruntime", files, inputs, task)
    for name, path in files.items():
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        expected = task.to_rows({LOGITS: session.run(None, {"x": inputs})[0]})
        np.testing.assert_array_equal(found[name].rows, expected, strict=True)
        assert not task.is_finite(found[name].rows[40:42])
        assert (found[name].cut, found[name].n) == (None, 75)


@pytest.mark.parametrize("batch", ["batch", 20])
def test_several_inputs_by_name(remote, tmp_path, batch):
    """Of several outputs the one called logits counts, though it is not the first."""
    path = picture_and_tokens(tmp_path / "several.onnx", batch)
    inputs = named_samples(75, 6)
    inputs["image"][40] = np.nan
    session = BundleSession(path)
    logits = session.run(inputs)[LOGITS]
    task = Classification(("dark", "left", "right"))
    found = predict_on_device(remote, "onnxruntime", {"one": path}, inputs, task)["one"]
    np.testing.assert_array_equal(found.rows, task.to_rows({LOGITS: logits}), strict=True)
    assert (found.cut, found.n, found.rows[40]) == (None, 75, -1)
    np.testing.assert_array_equal(outputs_on_device(remote, "onnxruntime", path, inputs), logits, strict=True)
    with pytest.raises(DeviceError, match="the model takes image, tokens, and the samples are image, ids"):
        predict_on_device(
            remote, "onnxruntime", {"one": path}, {"image": inputs["image"], "ids": inputs["tokens"]}, task
        )
    with pytest.raises(MeasurementError, match=r"inputs by name \(image, tokens\) are not given to trtexec"):
        predict_with_engines(remote, {"one": path}, inputs, task)


def test_an_input_may_have_any_name(tmp_path):
    """As a parameter of forward may, and unlike in np.savez."""
    arrays = {"file": np.arange(3), "allow_pickle": np.zeros((3, 2), np.float32), "self": np.array([True] * 3)}
    path = pack(tmp_path / "odd.npz", arrays)
    for read in (read_npz(path, list(arrays)), dict(np.load(path))):
        for name, each in arrays.items():
            np.testing.assert_array_equal(read[name], each, strict=True)


def test_the_metric_is_of_what_was_reached():
    task = Classification(("a", "b", "c"))
    found = PredictionsSoFar(task, 4)
    found.put(0, np.array([1, 2], np.int32))
    ended = found.ended("cut")
    assert (ended.n, ended.cut, ended.rows.tolist()) == (2, "cut", [1, 2, -1, -1])
    assert ended.value(np.array([1, 1, 1, 1])) == 0.5
    assert ended.value(np.array([1, -1, 1, 1])) == 1, "of the second the class is not known"
    with pytest.raises(MeasurementError, match="not one sample"):
        PredictionsSoFar(task, 1).ended("cut").value(np.array([1]))


def test_thresholds_decide_on_what_a_device_sent():
    rows, targets = np.array([[2.0, -1.0], [1.0, 1.0], [-2.0, np.nan]], np.float32), np.array([[1, 0], [0, 1], [1, 1]])
    reached = np.array([True, True, False])
    found = DevicePredictions(Multilabel(("a", "b")), rows, reached, "cut")
    assert found.value(targets) == 1, "the first is ranked first for both labels"
    [_, macro_f1] = found.task.metrics
    for thresholds, expected in (((0.5, 0.5), (2 / 3 + 1) / 2), ((0.8, 0.5), 1)):
        task = Multilabel(("a", "b"), thresholds)
        evidence = macro_f1.evidence(task.from_rows(rows[reached]), task.targets(targets[reached]))
        assert evidence.value() == pytest.approx(expected)
