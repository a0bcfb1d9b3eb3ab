"""``edgekd bench --device NAME`` through a real sshd, on this machine's own Python."""

import json
import os
import sys

import pytest

from edgekd.devices.registry import Device, add_device
from edgekd.devices.targets import LocalTarget, RemoteTarget, resolve_target
from edgekd.errors import DeviceError
from tests.bench.conftest import write_model
from tests.cli.conftest import edgekd as edgekd


@pytest.fixture
def desk(clean, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    add_device(Device("desk", "board", sys.executable, ssh_config=str(clean.config)))


def test_a_place_by_its_name(desk):
    assert isinstance(resolve_target("cpu"), LocalTarget) and isinstance(resolve_target("cuda"), LocalTarget)
    assert isinstance(resolve_target("desk"), RemoteTarget)
    with pytest.raises(DeviceError, match=r"no device is called 'dest' .did you mean 'desk'"):
        resolve_target("dest")


def test_models_are_timed_on_the_device(desk, edgekd, tmp_path):
    models = [write_model(tmp_path / f"{layers}.onnx", layers=layers) for layers in (1, 8)]
    done = edgekd(
        "bench", *models, "--device", "desk", "--seconds", 0.3, "--max-seconds", 0.3, "--launches", 2, "--json", "-"
    )
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["environment"]["device"]["device"] == "desk"
    assert document["environment"]["cpu"]["model"] == document["environment"]["device"]["facts"]["cpu"]
    one, eight = document["models"]
    assert eight["latency_vs_reference"]["ratio"] > 1
    assert "peak_rss_bytes" not in one
    assert {launch["file"] for launch in document["models"]} == set(map(str, models))


def test_the_table_has_a_dash_for_what_is_not_measured_there(desk, edgekd, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    done = edgekd("bench", model, "--device", "desk", "--seconds", 0.1, "--max-seconds", 0.1, "--launches", 2)
    assert done.code == 0, done.err
    assert "peak memory" in done.out and "–" in done.out


def test_what_cannot_run_there_is_refused(desk, edgekd, tmp_path):
    (tmp_path / "nets.py").write_text("import torch\n\ndef net():\n    return torch.nn.Linear(2, 2)\n")
    done = edgekd("bench", f"{tmp_path}/nets.py:net", "--device", "desk", "--shape", "1,2")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert (
        "is not timed through SSH: ONNX files are, in ONNX Runtime and OpenVINO on the device's CPU and in TensorRT"
        in done.err
    )


def test_times_of_an_emulated_device_are_invalid(clean, edgekd, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    words = ("--ssh", "board", "--ssh-config", os.path.relpath(clean.config), "--python", sys.executable)
    assert edgekd("devices", "add", "desk", *words, "--emulated").code == 0
    monkeypatch.chdir(tmp_path)
    more = (
        "--device",
        "desk",
        "--threads",
        (os.cpu_count() or 1) + 1,
        "--seconds",
        0.1,
        "--max-seconds",
        0.1,
        "--launches",
        1,
        "--json",
        "-",
    )
    done = edgekd("bench", write_model(tmp_path / "model.onnx"), *more)
    [row] = json.loads(done.out)["models"]
    codes = {warning["code"] for warning in row["warnings"]}
    assert {"emulated", "too_few_cpus"} <= codes
    assert row["valid"] is False
