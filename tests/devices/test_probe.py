"""Through a real sshd to this machine's own Python, and to scripts that stand in for a Jetson's tools."""

import json
import os
import sys

import pytest

from edgekd.devices.local import probe_local
from edgekd.devices.probe import clock_ahead, describe, parse_probe, probe
from edgekd.devices.registry import LOCAL, Device
from edgekd.errors import DeviceError
from tests.cli.conftest import edgekd  # noqa: F401
from tests.devices.fake_jetson import FakeJetson
from tests.devices.server import Server


def board(server: Server, python: str = sys.executable, **more: str) -> Device:
    return Device("desk", "board", python, ssh_config=str(server.config), **more)


def test_this_machine_through_ssh(clean):
    found = probe(board(clean))
    assert "onnxruntime" in found.can_run and "tensorrt" not in found.can_run
    assert found.facts.cores == len(os.sched_getaffinity(0))
    assert abs(found.clock_ahead_s) < 1
    lines = describe(found)
    assert lines[0].startswith("desk: ") and "  can run: " + " and ".join(found.can_run) in lines


def test_a_jetson(sshd, tmp_path):
    jetson = FakeJetson(tmp_path / "jetson")
    server = Server(tmp_path, path=jetson.path).start()
    try:
        found = probe(board(server, str(jetson.python), power_mode="15W"))
        assert server.left_behind() == []
    finally:
        server.stop()
    assert found.release is not None
    assert (found.release.l4t, found.release.jetpack) == ("36.4.4", "6.2.1")
    assert {"onnxruntime", "tensorrt"} <= set(found.can_run)
    assert found.rails == ("VDD_IN",)
    lines = describe(found)
    assert lines[0] == "desk: NVIDIA Jetson Orin Nano Developer Kit"
    version = "JetPack 6.2.1, Jetson Linux 36.4.4, TensorRT 10.3.0, GPU of compute capability 8.7, power mode MAXN"
    assert f"  {version}" in lines
    assert "  missing: power mode 15W: it is in MAXN; 'sudo nvpmodel -m' sets it" in lines
    assert found.to_json()["tensorrt"] == "10.3.0"


FACTS = {
    "architecture": "aarch64", "system": "Debian", "kernel": "6", "cpu": "Cortex-A76", "cores": 4,
    "memory_bytes": 4_000_000_000, "free_disk_bytes": 9_000_000,
    "python": {"version": "3.11.2", "executable": "/usr/bin/python3", "numpy": "1.26", "onnxruntime_fails": "bad"},
}  # fmt: skip


def test_what_is_missing_in_plain_words():
    assert describe(parse_probe(Device("desk", "x"), FACTS, clock_ahead_s=-86400)) == [
        "desk: aarch64 machine",
        "  Cortex-A76, 4 cores, 4.0 GB memory, 0.0 GB free disk",
        "  Debian, Python 3.11.2, numpy 1.26",
        "  can run: nothing that edgekd can measure",
        "  missing: onnxruntime is there and does not load: bad",
        "  missing: disk: 9 MB are free, models and engines need more",
        "  missing: the time: its clock is 24 hours behind; 'sudo timedatectl set-ntp 1' there",
    ]


@pytest.mark.parametrize(
    ("managed", "way"),
    [
        ({}, "numpy and onnxruntime: '/usr/bin/python3 -m pip install numpy onnxruntime' there"),
        (
            {"externally_managed": True},
            "'/usr/bin/python3 -m venv edge && edge/bin/pip install numpy onnxruntime' there",
        ),
    ],
)
def test_how_packages_get_there(managed, way, tmp_path):
    (tmp_path / "config").write_text("")
    device = Device("desk", "pi@desk", power_mode="15W", ssh_config=str(tmp_path / "config"), emulated=True)
    python = {"version": "3.11.2", "executable": "/usr/bin/python3", **managed}
    packages = next(
        line for line in describe(parse_probe(device, {**FACTS, "python": python})) if "pip install" in line
    )
    assert way in packages
    # The rest of the registry's entry stays what it is.
    words = "--replace --ssh pi@desk --python PATH/edge/bin/python --power-mode 15W --ssh-config"
    assert (words in packages and "--emulated' here" in packages) == bool(managed)


def test_a_mode_that_is_wanted_must_be_seen():
    assert "'nvpmodel -q' does not show" in (
        parse_probe(Device("desk", "x", power_mode="15W"), FACTS).in_other_mode or ""
    )
    said = {"jetson": {"nvpmodel": "NV Power Mode: MODE_15W\n2\n"}}
    for wanted, fits in (("15W", True), ("MODE_15W", True), ("2", True), ("30W", False)):
        found = parse_probe(Device("desk", "x", power_mode=wanted), {**FACTS, **said})
        assert (found.in_other_mode is None) == fits


def test_this_machines_gpu_is_the_first_that_its_driver_knows(tmp_path, monkeypatch):
    """By a test double of the driver's program."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA H200\necho NVIDIA T4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert describe(probe_local(LOCAL["cuda"]))[0] == "cuda: NVIDIA H200"
    program.write_text("#!/bin/sh\nexit 9\n")
    with pytest.raises(DeviceError, match="this machine has no GPU that nvidia-smi knows"):
        probe_local(LOCAL["cuda"])


def test_a_clock_is_wrong_only_outside_what_was_waited():
    assert [clock_ahead(10, there, 12) for there in (10, 11.9, 15, 4)] == [0, 0, 3, -6]


def test_the_commands(clean, edgekd, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    added = edgekd("devices", "add", "desk", "--ssh", "board", "--python", sys.executable, "--ssh-config", clean.config)
    assert (added.code, added.out) == (0, "added desk: board; 'edgekd devices probe desk' asks it what it can run\n")
    assert edgekd("devices", "list").out == "cpu   this machine\ncuda  this machine\ndesk  board\n"
    assert [entry["name"] for entry in json.loads(edgekd("devices", "list", "--json").out)] == ["cpu", "cuda", "desk"]
    assert edgekd("devices", "probe", "desk").out.startswith("desk: ")
    assert json.loads(edgekd("devices", "probe", "desk", "--json").out)["can_run"][0] == "onnxruntime"
    assert json.loads(edgekd("devices", "probe", "cpu", "--json").out)["can_run"][0] == "onnxruntime"
    wrong = edgekd("devices", "add", "x", "--ssh", "a b;c'd")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith('error: "a b;c\'d" is no name of a host') and wrong.err.count("\n") == 1
