"""A recipe whose targets are registered devices: this machine's own Python behind sshd, and a Jetson's test double."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from edgekd.bundle.session import BundleSession
from edgekd.bundle.verify import verify
from edgekd.data import DataSet, InMemory, load_data
from edgekd.devices.registry import Device, add_device, find_device
from edgekd.devices.targets import RemoteTarget
from edgekd.errors import DeviceError
from edgekd.files import sha256_file
from edgekd.gate.files import keep_files
from edgekd.gate.subject import load_subject, subject_of
from edgekd.pipeline.candidate import predicted_ms
from edgekd.pipeline.chunks import chunks
from edgekd.pipeline.evaluate import ExportNode
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.remote import LazyConnection, RemotePredictionsNode, predict_test_set
from edgekd.pipeline.resolve import must_be_driven, resolve_targets
from edgekd.pipeline.run import run
from edgekd.preprocess import Preprocess
from edgekd.recipe import Target, load_recipe
from edgekd.tasks.multilabel import Multilabel
from tests.bench.conftest import write_model
from tests.bundle.models import named_samples, picture_and_tokens, vector_model
from tests.devices import odd_runtime
from tests.devices.conftest import sshd as sshd
from tests.devices.fake_jetson import MW, FakeJetson
from tests.devices.fake_trtexec import MS_PER_KB
from tests.devices.server import Server
from tests.needs import needs
from tests.toy import RECIPE, SHORT, blank_pictures, brief_measurements, fixed_times, run_stages, write_recipe

pytestmark = needs("sshd", "ssh")

TARGETS = """\
targets:
  - {device: cpu, runtime: onnxruntime}
  - {device: desk, runtime: onnxruntime}
  - {device: orin, runtime: tensorrt}
"""
ALL_TARGETS = SHORT + TARGETS


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Both devices, and the server of the second, whose PATH has the Jetson's tools."""
    folder = tmp_path_factory.mktemp("devices")
    jetson = FakeJetson(folder / "jetson")
    server = Server(folder, path=jetson.path).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKD_DEVICES", str(folder / "devices.json"))
        config = str(server.config)
        add_device(Device("desk", "board", sys.executable, ssh_config=config))
        add_device(Device("orin", "board", str(jetson.python), ssh_config=config))
        # A busy machine here would be measured again.
        fixed_times(patch)
        blank_pictures(patch)
        brief_measurements(patch)
        yield server
    assert server.left_behind() == []
    server.stop()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return load_recipe(write_recipe(tmp_path_factory.mktemp("recipe"), ALL_TARGETS))


@pytest.fixture(scope="module")
def finished(registry, recipe, toy_run, tmp_path_factory):
    folder = Path(shutil.copytree(toy_run, tmp_path_factory.mktemp("runs") / "toy"))
    return folder, run(recipe, folder)


def rows_on(report, device: str, runtime: str = "onnxruntime") -> dict:
    return {row.model: row for row in report.rows if (row.device, row.runtime) == (device, runtime)}


def test_every_network_has_a_row_on_every_device(finished):
    _, report = finished
    here, desk, orin = (rows_on(report, "cpu"), rows_on(report, "desk"), rows_on(report, "orin", "tensorrt"))
    assert list(here) == list(desk) == list(orin) == ["teacher", "distilled", "quantized"]
    for model, row in desk.items():
        # The same file in the same runtime on the same processor.
        assert (row.accuracy, row.right, row.file) == (here[model].accuracy, here[model].right, here[model].file)
    for row in (desk["quantized"], orin["quantized"]):
        assert row.latency_ms is not None and row.latency_vs_teacher is not None
    assert orin["quantized"].file.endswith("model-tensorrt.onnx") and orin["quantized"].precision == "int8"
    assert not [note.code for note in report.warnings if note.code in ("target_skipped", "device_disagrees")]


def test_the_bundle_has_a_file_for_every_device(finished):
    folder, report = finished
    targets = verify(folder / "bundle").targets
    assert [(each.device, each.file, each.runtime, each.measured) for each in targets] == [
        ("cpu", "model.cpu.onnx", "onnxruntime", True),
        ("desk", "model.desk.onnx", "onnxruntime", True),
        ("orin", "model.orin.onnx", "tensorrt", True),
    ]
    digests = {row.device: row.file_sha256 for row in report.rows if row.model == "quantized" and row.file}
    assert {each.device: sha256_file(folder / "bundle" / each.file) for each in targets} == digests
    assert [each.measured for each in report.targets] == ["here", "there", "there"]


def test_the_energy_of_a_jetson_is_in_the_report(finished):
    row = rows_on(finished[1], "orin", "tensorrt")["teacher"]
    assert row.energy_mj == pytest.approx(MW / 1000 * row.latency_ms.p50, rel=0.01)


def test_what_a_search_asks_for_is_timed_on_a_board_whose_kernels_have_no_times(registry, tmp_path):
    file = write_model(tmp_path / "model.onnx", width=64)
    found = predicted_ms(file, "int8", Target(device="orin", runtime="tensorrt"))
    assert found == pytest.approx(MS_PER_KB * file.stat().st_size / 1000)
    assert predicted_ms(file, "int8", Target(device="elsewhere", runtime="tensorrt")) is None


def test_the_budget_is_judged_on_the_first_target(finished):
    folder, report = finished
    assert (report.rows[-1].device, report.rows[-1].runtime) == ("desk", "onnxruntime")
    judged = rows_on(report, "cpu")
    drop = 100 * (judged["teacher"].accuracy - judged["quantized"].accuracy)
    assert report.budget.checks[0].value == pytest.approx(drop)
    assert "orin" in (folder / "report.html").read_text()


def test_each_device_says_what_it_is_and_the_gate_compares_it(finished):
    folder, report = finished
    assert report.environment["devices"]["orin"]["power_mode"] == "MAXN"
    subject = subject_of(json.loads((folder / "report.json").read_text()))
    assert subject.facts["orin: power mode"] == "MAXN"
    assert subject.facts["orin: TensorRT"] == "10.3.0"
    assert {"cpu, onnxruntime, 1 thread", "desk, onnxruntime, 1 thread", "orin, tensorrt"} <= set(subject.rows)


def test_what_was_measured_is_not_measured_again(finished, recipe, monkeypatch):
    folder, report = finished
    monkeypatch.setattr("edgekd.pipeline.remote.predict_test_set", lambda *_: pytest.fail("measured again"))
    # On a busy machine so brief a measurement may have too few rounds.
    monkeypatch.setattr("edgekd.pipeline.remote.TRANSIENT", set())
    again = run(recipe, folder)
    assert {(row.model, row.place): row.latency_ms for row in again.rows} == {
        (row.model, row.place): row.latency_ms for row in report.rows
    }


def test_answers_that_differ_there_are_told(finished, recipe, monkeypatch, tmp_path):
    def other(there, target, files, data, done):
        return {label: np.zeros(len(data.test), np.int64) for label in files}

    folder = Path(shutil.copytree(finished[0], tmp_path / "run"))
    for answers in (folder / "measurements").glob("*-answers-*"):
        shutil.rmtree(answers)
    monkeypatch.setattr("edgekd.pipeline.remote.predict_test_set", other)
    report = run(recipe, folder)
    found = [note.message for note in report.warnings if note.code == "device_disagrees"]
    assert len(found) == 6 and "predicts on orin, tensorrt as it does here on only" in " ".join(found)


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.3, 0.9)])
def test_labels_that_a_device_finds_are_compared_by_the_files_thresholds(registry, tmp_path, thresholds):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(60, 2)).astype(np.float32)
    inputs[7] = np.nan
    samples = InMemory(torch.from_numpy(inputs), torch.zeros((60, 2), dtype=torch.long))
    scale = Preprocess("vector", (2,), (0.0, 0.0), (1.0, 1.0))
    data = DataSet("two", ("a", "b"), scale, samples, samples, samples, kind=Multilabel)
    here = inputs + random.normal(0, 0.5, inputs.shape).astype(np.float32)
    with RemoteTarget(find_device("desk")) as desk:
        connection = LazyConnection(desk.probe)
    node = RemotePredictionsNode(
        *({"net": vector_model(tmp_path / "net.onnx")}, Target(device="desk", runtime="onnxruntime"), connection),
        *({"net": here}, {"net": Multilabel(("a", "b"), thresholds)}, data),
    )
    with connection:
        node.fill(tmp_path, tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text())
    np.testing.assert_array_equal(np.load(tmp_path / found["predictions"]["net"]), inputs, strict=True)
    ours, theirs = (1 / (1 + np.exp(-each)) >= thresholds for each in (here, inputs))
    assert found["agreement"]["net"] == (ours == theirs).all(1).mean() < 1
    assert node.key != replace(node, tasks={"net": Multilabel(("a", "b"), (0.4, 0.4))}).key


@pytest.fixture
def of_several() -> DataSet:
    arrays = {name: torch.from_numpy(each) for name, each in named_samples(60, 6).items()}
    samples = InMemory(arrays, torch.zeros(60, dtype=torch.long), np.arange(60))
    taken_as_they_are = Preprocess("tensors", (), (), ())
    return DataSet("two", ("dark", "left", "right"), taken_as_they_are, samples, samples, samples)


def test_several_inputs_are_predicted_there_chunk_by_chunk(registry, of_several, tmp_path, monkeypatch):
    monkeypatch.setattr("edgekd.pipeline.chunks.CHUNK_BYTES", 256)
    of_several = replace(of_several, batch_size=16)
    file = picture_and_tokens(tmp_path / "net.onnx")
    expected = BundleSession(file).run(named_samples(60, 6))["logits"].argmax(1)
    with RemoteTarget(find_device("desk")) as desk:
        target = Target(device="desk", runtime="onnxruntime")
        found = predict_test_set(desk, target, {"net": file}, of_several)
    assert len(list(chunks(of_several, of_several.test))) == 4
    np.testing.assert_array_equal(found["net"], expected.astype(np.int32), strict=True)


def test_tensorrt_there_is_refused_for_several_inputs_before_any_training(of_several):
    recipe = SimpleNamespace(targets=[Target(device="orin", runtime="tensorrt"), Target(device="cpu")])
    must_be_driven(of_several, {}, recipe)  # nothing is measured on a device that is not registered
    with pytest.raises(DeviceError, match="TensorRT on orin is driven .* and the data give image, tokens by name: ask"):
        must_be_driven(of_several, {"orin": object()}, recipe)


def odd_python(folder: Path) -> Path:
    """An interpreter whose ONNX Runtime is the test double :mod:`tests.devices.odd_runtime`."""
    module = folder / "odd/onnxruntime/__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(Path(odd_runtime.__file__).read_text())
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder / "odd"}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python


def test_the_layer_that_a_device_computes_otherwise_is_named(registry, sshd, tmp_path, toy_again):
    add_device(Device("odd", "board", str(odd_python(tmp_path)), ssh_config=str(sshd.config)), replace=True)
    recipe = load_recipe(write_recipe(tmp_path, RECIPE + "targets:\n  - {device: odd, runtime: onnxruntime}\n"))
    report = run(recipe, toy_again)
    found = {note.message.split()[0]: note.message for note in report.warnings if note.code == "device_disagrees"}
    model = onnx.load(toy_again / rows_on(report, "odd")["quantized"].file)
    second = [node.name for node in model.graph.node if node.op_type == "Conv"][1]
    assert f"of the test samples; it departs from what the file says at {second}: trust" in found["quantized"]
    # A float network has no codes to compare.
    assert "departs" not in found["teacher"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{device: off, runtime: onnxruntime}", "nothing listens for SSH at 127.0.0.1:1"),
        ("{device: desk, runtime: tensorrt}", "targets: desk cannot run tensorrt"),
        ("{device: desk, architecture: aarch64}", "targets: desk is x86_64, and the recipe says aarch64"),
    ],
)
def test_a_device_that_will_not_do_is_found_before_any_training(registry, sshd, target, message, tmp_path):
    add_device(Device("off", "127.0.0.1:1"), replace=True)
    add_device(Device("desk", "board", sys.executable, ssh_config=str(sshd.config)), replace=True)
    recipe = load_recipe(write_recipe(tmp_path, SHORT + f"targets:\n  - {target}\n"))
    with pytest.raises(DeviceError, match=message):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "stages").exists()


@pytest.mark.slow
def test_a_network_is_pruned_to_a_latency_on_its_device(registry, sshd, tmp_path, monkeypatch):
    """The table of layers and the clock are the device's: none of them is asked here."""
    add_device(Device("desk", "board", sys.executable, ssh_config=str(sshd.config)), replace=True)
    head = SHORT[: SHORT.index("student:")].replace("width: 16", "width: 64").replace("epochs: 2", "epochs: 1")
    text = head + "stages:\n  - prune: {latency: 0.9, epochs: 0}\ntargets:\n  - {device: desk, runtime: onnxruntime}\n"
    recipe = load_recipe(write_recipe(tmp_path, text))
    for name in ("edgekd.bench.target.measure", "edgekd.bench.target.interleave_here"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("timed here"))
    pruned = run_stages(resolve_targets(recipe)[0], tmp_path / "run")[-1]
    assert pruned.metrics["cuts"][0]["timing"]["measured"] <= 0.9


@pytest.mark.slow  # its parts have cheap tests: the search for a placement, and turns on a device
def test_placement_is_measured_on_the_device(registry, sshd, tmp_path, monkeypatch):
    add_device(Device("desk", "board", sys.executable, ssh_config=str(sshd.config)), replace=True)
    head = SHORT[: SHORT.index("student:")].replace("epochs: 2", "epochs: 1")
    text = head + "stages:\n  - quantize: {epochs: 0, rungs: [ptq]}\nbudget: {accuracy_drop: 100}\n"
    recipe = load_recipe(write_recipe(tmp_path, text + "targets:\n  - {device: desk, runtime: onnxruntime}\n"))
    for name in ("edgekd.bench.target.measure", "edgekd.bench.target.interleave_here"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("timed here"))
    recipe, _ = resolve_targets(recipe)
    quantized = run_stages(recipe, tmp_path / "run")[-1]
    node = ExportNode(quantized, 1, load_data(recipe.data, recipe.seed), recipe.targets)
    placement = NodeCache(tmp_path / "run").make(node).evaluation.here.placement
    assert {each.name for each in placement.candidates} >= {"int8", "float"}
    assert all(each.ratio > 0 for each in placement.candidates)


@pytest.mark.slow
def test_a_baselines_files_are_timed_beside_the_new_ones_on_every_device(finished, recipe, tmp_path):
    folder, _ = finished
    baseline = tmp_path / "baseline.json"
    keep_files(folder, baseline)
    load_subject(folder).save(baseline)
    rows = [row for row in run(recipe, folder, baseline=baseline).rows if row.latency_vs_baseline]
    assert {(row.device, row.runtime) for row in rows} == {
        ("cpu", "onnxruntime"), ("desk", "onnxruntime"), ("orin", "tensorrt")
    }  # fmt: skip
    assert all(row.latency_vs_baseline.baseline_sha256 == row.file_sha256 for row in rows)
