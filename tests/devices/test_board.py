"""The emulated aarch64 board of ``make board``: another processor's answers, through its own sshd."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from torch import nn

from edgekd.data import DataSet
from edgekd.devices.predictions import predict_on_device
from edgekd.devices.registry import find_device
from edgekd.devices.remote import Remote
from edgekd.export import export_onnx, runtime_logits
from edgekd.quantize import calibrate, export_runtime, prepare
from tests.bench.conftest import write_model
from tests.cli.conftest import edgekd as edgekd
from tests.devices.conftest import left_here
from tests.devices.server import free_port

SCRIPT = Path(__file__).with_name("board.sh")
ROOT = Path(os.environ.get("EDGEKD_BOARD", SCRIPT.parents[2] / "build" / "board"))
PYTHON = "/opt/edge/bin/python"
AGREEMENT = 0.995

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(f"{ROOT}{PYTHON}").exists(), reason=f"no board at {ROOT}: 'make board' builds it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the board's sshd is started by root"),
]


@pytest.fixture(scope="module")
def config() -> Iterator[str]:
    """The configuration for ssh of the board, started where it is not running already."""
    path = f"{ROOT}.keys/config"
    if subprocess.run(["ssh", "-F", path, "-o", "BatchMode=yes", "board", "true"], capture_output=True).returncode == 0:
        yield path
        return
    started = subprocess.run([SCRIPT, "start", str(free_port())], stdout=subprocess.PIPE, text=True, check=True)
    yield started.stdout.strip()
    subprocess.run([SCRIPT, "stop"], check=True)


@pytest.fixture(autouse=True)
def board(config, edgekd, tmp_path, monkeypatch) -> Iterator[None]:
    """Registered; afterwards nothing is left of what it was asked."""
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    words = ("--ssh", "board", "--ssh-config", config, "--python", PYTHON, "--emulated")
    assert edgekd("devices", "add", "board", *words).code == 0
    yield
    deadline = time.monotonic() + 10
    while left_there() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_there() == []
    assert left_here() == []


def left_there() -> list[str]:
    """Folders of ours on the board, and its processes beside the sshd that listens."""
    processes = [process.pid for process in psutil.process_iter() if root_of(process) == ROOT]
    listening = int((ROOT / "run" / "edgekd-sshd.pid").read_text())
    folders = [str(path) for path in (ROOT / "tmp").glob("edgekd*")]
    return folders + [str(pid) for pid in processes if pid != listening]


def root_of(process: psutil.Process) -> Path | None:
    with suppress(OSError):  # it may have ended
        return Path(f"/proc/{process.pid}/root").readlink()
    return None


def test_it_says_that_it_is_an_aarch64_and_emulated(edgekd):
    done = edgekd("devices", "probe", "board")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "board: aarch64 machine, emulated: its times mean nothing"
    assert "  can run: onnxruntime" in done.out.splitlines()
    found = json.loads(edgekd("devices", "probe", "board", "--json").out)
    assert (found["facts"]["architecture"], found["emulated"]) == ("aarch64", True)


def test_its_times_are_marked_as_invalid(edgekd, tmp_path):
    model = write_model(tmp_path / "model.onnx")
    done = edgekd("bench", model, "--device", "board", "--seconds", 0.5, "--launches", 1, "--json", "-")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["environment"]["cpu"]["architecture"] == "aarch64"
    [row] = document["models"]
    assert row["valid"] is False
    assert {"code": "emulated", "message": "board is emulated: its times mean nothing"} in row["warnings"]
    assert "board is emulated: its times mean nothing [emulated]" in done.err


@pytest.fixture(scope="module")
def files(digits: DataSet, trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network that reads digits, in float and in int8."""
    folder = tmp_path_factory.mktemp("digits")
    files = {"float32": export_onnx(trained, folder / "float32.onnx", digits.preprocess)}
    for profile in ("onnxruntime-x86", "onnxruntime-arm"):
        graph = prepare(trained, digits.input_shape, profile)
        calibrate(graph, [digits.to_input(digits.train.raw[:256])])
        files[profile] = export_runtime(graph, folder / f"{profile}.onnx", digits.preprocess, profile, trained=profile)
    return files


def test_it_answers_as_this_machine_does(digits, files):
    inputs = digits.to_input(digits.test.raw).numpy()
    with Remote(find_device("board")) as remote:
        there = predict_on_device(remote, files, inputs, digits.task, timeout_s=300)
    for name, path in files.items():
        # Step by step: products of full int8 weights saturate on processors of x86 without VNNI.
        here = runtime_logits(path, digits.inputs(digits.test), optimised=name != "onnxruntime-arm").argmax(1).numpy()
        assert there[name].cut is None
        assert there[name].value(here) >= AGREEMENT
        assert there[name].value(digits.test.labels.numpy()) >= 0.9
