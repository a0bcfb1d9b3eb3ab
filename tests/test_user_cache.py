"""The folders of a user, who may have no home."""

from pathlib import Path

import pytest

from edgekd.devices.registry import LOCAL, devices, registry_path
from edgekd.pipeline.local_paths import without_local_paths
from edgekd.user_cache import cache_folder, writable_cache


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "EDGEKD_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def test_below_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/edgekd")
    assert registry_path() == Path("/home/somebody/.config/edgekd/devices.json")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/home/somebody/.cache/edgekd")
    monkeypatch.setenv("XDG_CACHE_HOME", "/large")
    assert cache_folder() == Path("/large/edgekd")


def test_of_a_user_whom_the_system_does_not_know(monkeypatch, tmp_path):
    """As in a container that was started with a number for its user."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert cache_folder() == Path("/nonexistent/.cache/edgekd")
    assert devices() == LOCAL
    assert without_local_paths({"a": f"{tmp_path}/b"}, tmp_path, {}) == {"a": f"{tmp_path.name}/b"}


def test_a_cache_that_cannot_be_written_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert writable_cache("scans", "they are lost") == tmp_path / "edgekd/scans"
    assert (tmp_path / "edgekd/scans").is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    assert writable_cache("scans", "they are lost") is None
    assert capsys.readouterr().err == (
        "warning: /dev/null/cache/edgekd/scans cannot be written: they are lost; XDG_CACHE_HOME names another folder "
        "for caches\n"
    )
