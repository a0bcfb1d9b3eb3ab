import json
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from edgekd.devices.address import Address
from edgekd.devices.registry import Device, add_device, devices, find_device, registry_path, remove_device
from edgekd.errors import DeviceError


@pytest.fixture(autouse=True)
def registry(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "config" / "devices.json"))
    return registry_path()


def test_this_machine_is_always_there(registry):
    assert list(devices()) == ["cpu", "cuda"]
    assert not registry.exists()
    with pytest.raises(DeviceError, match="this machine itself"):
        _ = find_device("cpu").address


def test_what_is_added_is_found(registry):
    orin = Device("orin", "nvidia@10.0.0.2:2222", "/opt/py/bin/python3", "15W")
    add_device(orin)
    assert find_device("orin") == orin
    assert orin.address == Address("10.0.0.2", "nvidia", 2222)
    assert json.loads(registry.read_text()) == {
        "schema_version": 1,
        "devices": {"orin": {"ssh": "nvidia@10.0.0.2:2222", "python": "/opt/py/bin/python3", "power_mode": "15W"}},
    }


def test_a_name_is_given_once():
    add_device(Device("orin", "a"))
    with pytest.raises(DeviceError, match="orin already; another name, or --replace"):
        add_device(Device("orin", "b"))
    add_device(Device("orin", "b"), replace=True)
    assert find_device("orin").ssh == "b"
    with pytest.raises(DeviceError, match="cpu is this machine's own"):
        add_device(Device("cpu", "b"), replace=True)


@pytest.mark.parametrize(
    ("name", "ssh", "python"),
    [
        ("two words", "a", "python3"), ("semi;colon", "a", "python3"), ("-x", "a", "python3"), ("", "a", "python3"),
        ("ok", "-oProxyCommand=x", "python3"), ("ok", "a;b", "python3"), ("ok", "a", "-c"), ("ok", "a", ""),
    ],
)  # fmt: skip
def test_what_is_no_device(name, ssh, python):
    with pytest.raises(DeviceError, match="is no "):
        Device(name, ssh, python)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 9, "devices": {}}', '{"schema_version": 1, "devices": {"a": {"odd": 1}}}', '{"schema_version": 1, "devices": {"a": 1}}'])  # fmt: skip # noqa: E501
def test_a_damaged_registry(registry, text):
    registry.parent.mkdir()
    registry.write_text(text)
    with pytest.raises(DeviceError, match="is no list of devices"):
        devices()


def test_a_device_that_is_not_there():
    add_device(Device("orin", "a"))
    with pytest.raises(DeviceError, match="'orni' \\(did you mean 'orin'\\?\\); known: cpu, cuda, orin"):
        find_device("orni")


def test_where_the_book_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEKD_DEVICES")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert registry_path() == tmp_path / "edgekd" / "devices.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert registry_path() == tmp_path / ".config" / "edgekd" / "devices.json"


def test_what_is_removed_is_gone(registry):
    add_device(Device("orin", "a"))
    add_device(Device("desk", "b"))
    remove_device("orin")
    assert list(devices()) == ["cpu", "cuda", "desk"]
    with pytest.raises(DeviceError, match="no device is called 'orin'"):
        remove_device("orin")
    with pytest.raises(DeviceError, match="cpu is this machine's own and stays"):
        remove_device("cpu")
    assert list(devices()) == ["cpu", "cuda", "desk"]


def add_ten(start: Barrier, name: str) -> None:
    start.wait()
    for number in range(10):
        add_device(Device(f"{name}-{number}", "a"))


def test_processes_that_add_at_once_lose_no_device():
    names, fork = "abcd", get_context("fork")
    start = fork.Barrier(len(names))
    added = [fork.Process(target=add_ten, args=(start, name)) for name in names]
    for process in added:
        process.start()
    for process in added:
        process.join()
    assert set(devices()) == {"cpu", "cuda", *(f"{name}-{number}" for name in names for number in range(10))}
