"""The times of candidates that could win."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgekd.artifact_cache import METRICS
from edgekd.devices.registry import Device, add_device
from edgekd.recipe import load_recipe
from edgekd.search import finalists
from edgekd.search.finalists import time_files
from edgekd.search.opening import open_space
from tests.bench.conftest import write_model
from tests.bundle.models import vector_model
from tests.devices.conftest import sshd as sshd
from tests.devices.fake_jetson import FakeJetson
from tests.devices.server import Server
from tests.needs import needs
from tests.recipe.conftest import SMALL
from tests.toy import brief_warm_up


def test_the_faster_of_two_forms_that_has_a_valid_time_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are in the place of measurements."""
    forms = {"a": ("int8", "float"), "b": ("int8", "float"), "c": ("int8",)}
    times = {"a/int8": (0.5, True), "a/float": (0.4, True), "b/int8": (0.3, True), "b/float": (0.2, False)}

    def record(name: str) -> Any:
        ratio, valid = times.get(name, (0.0, False))
        against = SimpleNamespace(ratio=ratio) if ratio else None
        cost = SimpleNamespace(p50=10 * ratio)
        return SimpleNamespace(latency_vs_reference=against, cost_ms=cost, valid=valid, energy=None)

    def files(folder: Path, _: object) -> list[Path]:
        return [Path("teacher"), *(folder / form for form in forms[str(folder)])]

    monkeypatch.setattr(finalists, "is_measured_here", lambda target: True)
    monkeypatch.setattr(finalists, "_files", files)
    monkeypatch.setattr(finalists, "when_quiet", lambda _, plan: {name: record(name) for name in plan.workloads})
    path = tmp_path / "recipe.yaml"
    path.write_text(SMALL)
    found = time_files(load_recipe(path), ["a", "b", "c"])
    rest = {"valid": True, "energy": None}
    assert found == {"a": {"ratio": 0.4, "ms": 4.0, **rest}, "b": {"ratio": 0.3, "ms": 3.0, **rest}}


@needs("sshd", "ssh")
def test_files_are_timed_on_the_device_that_the_budget_is_judged_on(
    sshd: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    add_device(Device("desk", "board", sys.executable, ssh_config=str(sshd.config)))
    monkeypatch.setattr(finalists, "SECONDS", 0.05)
    monkeypatch.setattr(finalists, "LAUNCHES", 2)
    monkeypatch.setattr("edgekd.bench.runner.LONGEST", 1)
    # Its times need not be valid here, beside other tests.
    monkeypatch.setattr(finalists, "when_quiet", lambda measure, plan: measure(plan))
    for name in ("00-teacher-validation-a", "01-quantized-validation-b"):
        place = tmp_path / "001/exports" / name
        place.mkdir(parents=True)
        model = vector_model(place / "model.onnx")
        about = {"file": model.name, "precision": "float32", "size_bytes": model.stat().st_size, "macs": 1}
        (place / METRICS).write_text(json.dumps(about))
    path = tmp_path / "recipe.yaml"
    path.write_text(SMALL + "targets: [{device: desk}, {device: cpu}]\n")
    found = time_files(load_recipe(path), [str(tmp_path / "001")])
    assert list(found) == [str(tmp_path / "001")]
    [each] = found.values()
    assert each["ms"] > 0 and 0.2 < each["ratio"] < 5  # of the same network


@needs("sshd", "ssh")
def test_a_board_s_energy_is_that_of_an_inference_over_the_teacher_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Jetson is a double whose power never changes, and whose times are in proportion to the files."""
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    monkeypatch.setattr(finalists, "LAUNCHES", 2)
    monkeypatch.setattr(finalists, "when_quiet", lambda measure, plan: measure(plan))
    brief_warm_up(monkeypatch)
    jetson = FakeJetson(tmp_path / "jetson")
    server = Server(tmp_path, path=jetson.path).start()
    try:
        add_device(Device("orin", "board", str(jetson.python), ssh_config=str(server.config)))
        sizes = []
        for name, width in (("00-teacher-validation-a", 64), ("01-quantized-validation-b", 16)):
            place = tmp_path / "001/exports" / name
            place.mkdir(parents=True)
            model = write_model(place / "model.onnx", width=width)
            sizes.append(model.stat().st_size)
            about = {"file": model.name, "precision": "float32", "size_bytes": sizes[-1], "macs": 1}
            (place / METRICS).write_text(json.dumps(about))
        path = tmp_path / "recipe.yaml"
        path.write_text(f"{SMALL}targets: [{{device: orin, runtime: tensorrt}}]\nobjective: energy\n")
        open_space(path, ["prune.macs={search: [0.2, 0.9]}"])
        [found] = time_files(load_recipe(path), [str(tmp_path / "001")]).values()
    finally:
        server.stop()
    assert found["energy"] == pytest.approx(sizes[1] / sizes[0], rel=0.01)
