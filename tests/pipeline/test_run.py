"""The chain from end to end at toy length, on real digits in the real runtime."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import edgekd
from edgekd.bench.environment import BUSY_SHARE
from edgekd.bench.profile import cache, profiler
from edgekd.bench.profile.roofs import Roofs
from edgekd.bundle.predict import Predictor
from edgekd.bundle.verify import verify
from edgekd.data import load_data
from edgekd.devices.registry import Device, add_device
from edgekd.errors import EdgekdError, StorageError
from edgekd.files import sha256_file
from edgekd.formatting import columns
from edgekd.gate import load_subject
from edgekd.gate.files import keep_files
from edgekd.pipeline import measure
from edgekd.pipeline.baseline_latency import baseline_files
from edgekd.pipeline.evaluate import ExportNode
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.run import run
from edgekd.pipeline.target_plan import judged_target, plan_targets
from edgekd.recipe import Target, load_recipe
from edgekd.report.schema import Report
from edgekd.scratch import hold
from edgekd.train import logits_of
from tests.toy import (
    RECIPE,
    SHORT,
    blank_pictures,
    fixed_times,
    product_hashes,
    run_stages,
    timed_by_size,
    write_recipe,
)


@pytest.fixture(scope="module", autouse=True)
def no_clock():
    with pytest.MonkeyPatch.context() as patch:
        fixed_times(patch)
        blank_pictures(patch)
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return load_recipe(write_recipe(tmp_path_factory.mktemp("recipe")))


@pytest.fixture(scope="module")
def finished(toy_run):
    return toy_run, Report.from_json(json.loads((toy_run / "report.json").read_text()))


@pytest.fixture
def again(toy_again):
    """A copy of the finished run to break."""
    return toy_again


def test_run_folder_is_as_the_design_says(finished):
    folder, _ = finished
    names = {path.name for path in folder.iterdir()}
    assert {"recipe.lock.yaml", "report.json", "report.html", "log.jsonl", "stages", "exports", "bundle"} <= names
    stages = sorted(path.name.rpartition("-")[0] for path in (folder / "stages").iterdir())
    assert stages == ["00-teacher", "01-distill", "02-prune", "03-quantize"]
    for stage in (folder / "stages").iterdir():
        files = {path.name for path in stage.iterdir()}
        assert files == {"model.json", "weights.safetensors", "metrics.json", "SHA256SUMS"}


def test_report_holds_every_network_in_both_runtimes(finished):
    folder, report = finished
    assert Report.from_json(json.loads((folder / "report.json").read_text())) == report
    rows = {(row.model, row.runtime): row for row in report.rows}
    models = ("teacher", "distilled", "pruned", "quantized")
    assert set(rows) == {(model, runtime) for model in models for runtime in ("pytorch", "onnxruntime")}
    for model in models:
        row = rows[model, "onnxruntime"]
        assert row.n == 100
        assert row.size_bytes == (folder / row.file).stat().st_size
        predictions = np.load(folder / row.predictions)
        assert predictions.shape == (100,)
        assert row.latency_ms.p50 > 0
        assert row.peak_rss_bytes > 1e7
    assert rows["teacher", "onnxruntime"].latency_vs_teacher is None
    assert rows["quantized", "onnxruntime"].precision == "int8"
    assert rows["pruned", "onnxruntime"].macs <= 0.6 * rows["distilled", "onnxruntime"].macs
    assert rows["quantized", "onnxruntime"].size_bytes < rows["pruned", "onnxruntime"].size_bytes


def test_accuracy_is_what_the_stored_predictions_say(finished, recipe):
    folder, report = finished
    labels = load_data(recipe.data, recipe.seed).test.labels.numpy()
    for row in report.rows:
        assert row.accuracy == np.mean(np.load(folder / row.predictions) == labels)


def test_classes_add_up_to_the_accuracy_of_the_teacher_and_the_last_network(finished):
    _, report = finished
    rows = {row.model: row for row in report.rows if row.runtime == "onnxruntime"}
    found = report.breakdown()
    assert (found.before, found.after) == ("teacher", "quantized")
    assert [each.name for each in found.classes] == list(report.data.classes)
    assert sum(each.n for each in found.classes) == 100
    assert sum(each.right_before for each in found.classes) == round(100 * rows["teacher"].accuracy)
    assert sum(each.right_after for each in found.classes) == round(100 * rows["quantized"].accuracy)


def test_latency_of_pytorch_was_not_measured_and_is_absent(finished):
    folder, _ = finished
    row = json.loads((folder / "report.json").read_text())["rows"][0]
    assert row["runtime"] == "pytorch"
    assert "latency_ms" not in row
    assert "size_bytes" not in row


def test_every_stage_reloads_to_the_same_bits(finished, recipe):
    folder, _ = finished
    data = load_data(recipe.data, recipe.seed)
    for stage in sorted((folder / "stages").iterdir()):
        first, second = (logits_of(edgekd.load(stage), data, data.test) for _ in range(2))
        assert torch.equal(first, second)
        export = next((folder / "exports").glob(f"{stage.name[:2]}-*"))
        assert np.array_equal(np.load(export / "predictions-pytorch.npy"), first.argmax(1).numpy())


def test_a_second_run_does_nothing_again(finished, recipe, again, capsys):
    folder, report = again, finished[1]
    before = product_hashes(folder)
    capsys.readouterr()
    assert run(recipe, folder, command="edgekd run toy.yaml") == report
    said = capsys.readouterr().err
    assert said.count("done before") == 4
    assert "starts" not in said
    assert "export" not in said
    assert product_hashes(folder) == before


def test_roofs_beside_a_busy_neighbour_are_measured_once_in_a_run(recipe, again, monkeypatch, tmp_path):
    """They are not kept for other runs, and two networks are profiled."""
    asked = []

    def measured(threads: int) -> Roofs:
        asked.append(threads)
        return Roofs(threads, {"float32": 50.0, "int8": 100.0}, ((1 << 15, 100.0), (1 << 28, 20.0)), busy=0.5)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "BUSY_SHARE", BUSY_SHARE)  # tests/conftest.py keeps them
    monkeypatch.setattr(profiler, "measure_in_child", measured)
    monkeypatch.setattr(measure, "ends", lambda labels: [labels[0], labels[-1]])
    monkeypatch.setattr(measure, "PROFILE_RUNS", 2)
    shutil.rmtree(again / "measurements")
    profiles = run(recipe, again).profiles
    assert [each.model for each in profiles] == ["teacher", "quantized"]
    assert [each.roofs["busy"] for each in profiles] == [0.5, 0.5] and asked == [1]


PLACED = RECIPE[: RECIPE.index("student:")].replace("epochs: 2", "epochs: 1") + (
    "stages: [{quantize: {epochs: 0, rungs: [ptq], calibration: minmax, placement: measured, profile: PROFILE}}]\n"
    "budget: {accuracy_drop: 100}\n"
)
TWO_TARGETS = "targets: [{device: orin, runtime: tensorrt}, {device: cpu, threads: 3}]\n"


@pytest.fixture
def placements(monkeypatch):
    """The place and the threads of each timing of a placement, by the test double of this machine's clock."""
    found = []

    def timed(plan, *rest, **more):
        found.append(("here", plan.threads))
        return timed_by_size(plan, *rest, **more)

    monkeypatch.setattr("edgekd.bench.target.measure", timed)
    return found


@pytest.mark.parametrize(
    ("profile", "registered"),
    [
        ("portable", []),  # the board is not measured
        ("onnxruntime-x86", ["orin"]),  # it has no file
    ],
)
def test_placement_is_measured_on_the_budgets_target(profile, registered, placements, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    for name in registered:
        add_device(Device(name, "127.0.0.1:1"))
    recipe = load_recipe(write_recipe(tmp_path, PLACED.replace("PROFILE", profile) + TWO_TARGETS))
    [_, quantized] = run_stages(recipe, tmp_path / "run")
    data, judged = load_data(recipe.data, recipe.seed), judged_target(plan_targets(recipe, registered))
    made = NodeCache(tmp_path / "run").make(ExportNode(quantized, 1, data, recipe.targets, judged))
    assert {*placements} == {("here", 3)}
    assert made.file_for(recipe.targets[1]).placement.candidates


@pytest.mark.slow
def test_a_run_places_on_the_target_that_its_report_is_judged_on(placements, tmp_path):
    text = PLACED.replace("PROFILE", "portable") + TWO_TARGETS
    report = run(load_recipe(write_recipe(tmp_path, text)), tmp_path / "run")
    assert report.deployed.place == "cpu, onnxruntime, 3 threads"
    assert {*placements} == {("here", 3)}


def test_the_same_recipe_elsewhere_gives_the_same_bytes(finished, recipe, tmp_path):
    elsewhere = run_stages(recipe, tmp_path / "elsewhere")
    data = load_data(recipe.data, recipe.seed)
    exported = NodeCache(tmp_path).make(ExportNode(elsewhere[-1], 3, data, recipe.targets))
    ours, theirs = product_hashes(tmp_path / "elsewhere"), product_hashes(finished[0])
    assert [Path(name).name for name in ours].count("weights.safetensors") == 4
    [file] = (finished[0] / "exports").glob("03-quantized-*/model.onnx")
    assert sha256_file(exported.onnx) == sha256_file(file)
    assert {name: digest for name, digest in theirs.items() if name in ours} == ours


def test_a_flipped_byte_is_noticed_said_and_mended(again, recipe, capsys):
    before = product_hashes(again)
    weights = next((again / "stages").glob("01-distill-*")) / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    run(recipe, again)
    said = capsys.readouterr().err
    assert f"warning: {weights} is not as it was written; 01-distill is run again" in said
    assert said.count("done before") == 3
    assert product_hashes(again) == before


def test_a_missing_file_of_a_stage_is_noticed(again, recipe, capsys):
    missing = next((again / "stages").glob("03-quantize-*")) / "metrics.json"
    missing.unlink()
    run(recipe, again)
    assert f"warning: {missing} is not as it was written; 03-quantize is run again" in capsys.readouterr().err


def test_a_changed_setting_runs_its_stage_and_what_follows(again, recipe, tmp_path, capsys):
    run_stages(load_recipe(write_recipe(tmp_path), ["prune.macs=0.5"]), again)
    said = capsys.readouterr().err
    assert "teacher: done before" in said
    assert "distill: done before" in said
    assert "prune: runs again: prune.macs is 0.5, not 0.6" in said
    assert "quantize: runs again: it starts from another network" in said


def test_two_runs_in_one_folder_are_refused(again, recipe):
    with hold(again / ".lock"), pytest.raises(StorageError, match="another run is at work in .*: wait for it"):
        run(recipe, again)


@pytest.mark.slow
def test_without_a_student_the_teachers_own_network_is_compressed(tmp_path):
    text = RECIPE.replace("student: {model: small_cnn, args: {width: 8}}\n", "").replace(
        "  - distill: {epochs: 2}\n", ""
    )
    report = run(load_recipe(write_recipe(tmp_path, text)), tmp_path / "run")
    assert [row.model for row in report.rows[:3]] == ["teacher", "pruned", "quantized"]
    assert report.rows[1].macs <= 0.6 * report.rows[0].macs


def test_any_stage_alone_without_a_teacher(again, tmp_path):
    text = RECIPE.replace(
        "  - distill: {epochs: 2}\n  - prune: {macs: 0.6, round_to: 2, check_latency: false, epochs: 1}\n", ""
    )
    text = text.replace("quantize: {epochs: 1,", "quantize: {epochs: 0, teacher: false,")
    text = text.replace("student: {model: small_cnn, args: {width: 8}}\n", "")
    report = run(load_recipe(write_recipe(tmp_path, text)), again)
    assert [row.model for row in report.rows[:2]] == ["teacher", "quantized"]


def test_a_target_that_cannot_be_measured_is_a_warning_with_a_code(again, tmp_path):
    text = SHORT + (
        "targets:\n  - {device: jetson, runtime: tensorrt, architecture: arm}\n  - {device: pi, architecture: arm}\n"
    )
    text = text.replace("budget: {accuracy_drop: 100}", "budget: {latency_ratio: 0.5}")
    text = text.replace("  - quantize: {epochs: 1, rungs: [qat], placement: int8}\n", "")
    report = run(load_recipe(write_recipe(tmp_path, text)), again)
    # Networks this small lose classes too.
    assert [note.code for note in report.warnings if note.code != "class_lost"] == ["target_skipped"] * 2
    assert not report.budget.met
    assert report.budget.checks[0].value is None
    rows = [row for row in report.rows if row.runtime == "onnxruntime"]
    assert all(row.latency_ms is None and row.size_bytes and row.accuracy is not None for row in rows)
    assert report.environment["packages"]["onnxruntime"]
    manifest = verify(again / "bundle")
    assert [(each.file, each.processor, each.precision, each.measured) for each in manifest.targets] == [
        ("model.jetson.onnx", "NVIDIA GPU", "float16", False),
        ("model.pi.onnx", "aarch64 CPU", "float32", False),
    ]
    assert manifest.model == "model.jetson.onnx" and {each.file for each in report.targets} == {
        each.file for each in manifest.targets
    }
    shown = [row.to_json() for row in report.rows if row.model == "distilled" and row.file]
    runtime, device = (column.cell for column in columns(shown, ()) if column.heading in ("Device", "Runtime"))
    assert {(device(row), runtime(row)) for row in shown} == {
        ("jetson", "tensorrt (by emulation)"),
        ("pi", "onnxruntime (by emulation)"),
    }


def test_the_bundle_verifies_and_predicts_by_itself(finished):
    folder, report = finished
    verify(folder / "bundle")
    assert Predictor(folder / "bundle").self_test().passed
    assert report.name == "toy"


def test_nothing_of_this_machine_is_in_the_files_handed_over(finished):
    folder, _ = finished
    for path in [*(folder / "bundle").rglob("*"), *(folder / "exports").rglob("*.onnx")]:
        if path.is_file():
            assert str(folder.parent).encode() not in path.read_bytes()
            assert b"site-packages" not in path.read_bytes()


@pytest.fixture
def baseline(finished, tmp_path):
    path = tmp_path / "baseline.json"
    keep_files(finished[0], path)
    load_subject(finished[0]).save(path)
    return path


def test_a_run_is_timed_beside_the_files_of_a_baseline(recipe, again, baseline):
    rows = run(recipe, again, baseline=baseline).rows
    timed = [row for row in rows if row.latency_vs_baseline]
    assert timed == [rows[-1]]
    found = rows[-1].latency_vs_baseline
    assert found.baseline_sha256 == rows[-1].file_sha256 == sha256_file(again / rows[-1].file)
    assert found.ratio == pytest.approx(1, abs=0.01)
    # The same two files are not timed once more.
    assert run(recipe, again, baseline=baseline).rows[-1].latency_vs_baseline == found
    assert run(recipe, again).rows[-1].latency_vs_baseline is None


def test_a_baseline_without_its_file_is_said_before_anything_is_trained(recipe, baseline, tmp_path):
    shutil.rmtree(tmp_path / "baseline-files")
    with pytest.raises(EdgekdError, match="is missing: keep it with 'edgekd baseline promote --files'"):
        run(recipe, tmp_path / "run", baseline=baseline)
    assert not (tmp_path / "run/stages").exists()


def test_a_baseline_that_cannot_be_used_costs_no_stage_of_a_fresh_start(recipe, again, baseline, tmp_path):
    shutil.rmtree(tmp_path / "baseline-files")
    with pytest.raises(EdgekdError, match="is missing"):
        run(recipe, again, baseline=baseline, fresh=True)
    assert len(list((again / "stages").iterdir())) == 4


def test_a_baseline_beside_targets_that_are_not_measured_is_passed_over(recipe, baseline, capsys):
    elsewhere = recipe.model_copy(update={"targets": (Target(device="pi", architecture="aarch64"),)})
    assert baseline_files(baseline, elsewhere, {}) == {}
    assert "nothing is timed in turns with its files, since no target is measured" in capsys.readouterr().err


def test_a_baseline_of_another_place_is_said_before_anything_is_trained(recipe, baseline, tmp_path):
    baseline.write_text(
        re.sub(r'"threads": 1\b', '"threads": 8', baseline.read_text()).replace("1 thread", "8 threads")
    )
    with pytest.raises(EdgekdError, match="has no figures for cpu, onnxruntime, 1 thread, but for .*8 threads"):
        run(recipe, tmp_path / "run", baseline=baseline)
    assert not (tmp_path / "run/stages").exists()
