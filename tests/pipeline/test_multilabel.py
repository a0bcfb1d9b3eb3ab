"""A recipe of labels from its first key to its bundle and its gate."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sklearn.metrics import average_precision_score, f1_score

from edgekd.bundle.predict import Predictor
from edgekd.files import sha256_file
from edgekd.gate import check, load_policy, load_subject
from edgekd.pipeline.run import run
from edgekd.recipe import load_recipe
from edgekd.report.schema import Report
from tests.toy import blank_pictures, fixed_times, made_once

NAMES = ("dry", "odd", "tall", "warm")
RECIPE = """\
name: signs
task: multilabel
data: {source: npz, path: signs.npz, batch_size: 50}
teacher: {model: mlp, args: {hidden: [48]}, train: {epochs: 6, lr: 0.1}}
student: {model: mlp, args: {hidden: [24]}}
stages:
  - distill: {epochs: 6, lr: 0.1}
  - prune: {drop: 1.0, steps: 2, round_to: 2, check_latency: false, epochs: 1}
  - quantize: {epochs: 0, rungs: [ptq]}
budget: {drop: {map: 8.0, macro_f1: 10.0}}
"""


def write_signs(path: Path) -> None:
    """Labels are signs of projections of the input, with noise; some of the training samples' are not known."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(900, 16)).astype(np.float32)
    labels = (inputs @ random.normal(size=(16, 4)) + 0.5 * random.normal(size=(900, 4)) > 0.8).astype(np.int64)
    labels[:100, 1] = -1
    np.savez(path, train_x=inputs[:600], train_y=labels[:600], test_x=inputs[600:], test_y=labels[600:], classes=NAMES)


def run_recipe(folder: Path, text: str) -> Report:
    write_signs(folder / "signs.npz")
    (folder / "signs.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        fixed_times(patch)
        blank_pictures(patch)
        return run(load_recipe(folder / "signs.yaml"), folder / "run", command="edgekd run signs.yaml")


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "signs", lambda folder: run_recipe(folder, RECIPE)) / "run"


@pytest.fixture(scope="module")
def report(signs: Path) -> Report:
    return Report.from_json(json.loads((signs / "report.json").read_text()))


@pytest.fixture(scope="module")
def targets(signs: Path) -> np.ndarray:
    return np.load(signs.parent / "signs.npz")["test_y"]


def test_every_network_has_both_metrics_and_what_compares_them_in_pairs(report, signs):
    assert report.task == "multilabel"
    assert {row.model for row in report.rows} == {"teacher", "distilled", "pruned", "quantized"}
    for row in report.rows:
        figures = row.model_extra
        for name in ("map", "macro_f1"):
            low, high = figures[f"{name}_ci95"]
            assert 0.5 < low <= figures[name] <= high < 1
        assert "accuracy" not in figures and row.right is None
        assert sha256_file(signs / row.evidence.file) == row.evidence.sha256


def test_the_metrics_are_scikit_learns_of_the_files_own_outputs(report, signs, targets):
    inputs = np.load(signs.parent / "signs.npz")["test_x"]
    for row in report.rows:
        if row.runtime != "onnxruntime":
            continue
        metadata = json.loads((signs / row.file).with_name("metrics.json").read_text())
        session = onnxruntime.InferenceSession(signs / row.file)
        properties = session.get_modelmeta().custom_metadata_map
        scale = json.loads(properties["edgekd.preprocess"])
        mean, std = (np.array(scale[name], np.float32) for name in ("mean", "std"))
        [logits] = session.run(None, {"input": ((inputs - mean) / std).astype(np.float32)})
        probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
        thresholds = np.array(metadata["decoder"]["thresholds"])
        assert row.model_extra["map"] == pytest.approx(average_precision_score(targets, probabilities), abs=1e-6)
        expected = f1_score(targets, probabilities >= thresholds, average="macro")
        assert row.model_extra["macro_f1"] == pytest.approx(expected, abs=1e-6)


def test_the_budget_is_of_the_tasks_metrics(report):
    assert [each.name for each in report.budget.checks] == ["map_drop", "macro_f1_drop"]
    assert report.budget.met
    for each in report.budget.checks:
        assert each.ci95[0] <= each.value <= each.ci95[1]


def test_the_stages_choose_by_map(report):
    stages = {stage.name: stage.metrics for stage in report.stages}
    assert "validation_map" in stages["distill"]["history"][-1]
    assert stages["prune"]["cuts"][0]["validation_map"] > 0
    assert "validation_map" in stages["quantize"]["rungs"][0]


def test_the_bundle_decodes_by_the_thresholds_that_the_file_was_fitted_with(report, signs, targets):
    predictor = Predictor(signs / "bundle")
    manifest = json.loads((signs / "bundle/manifest.json").read_text())
    deployed = next(row for row in report.rows if row.runtime == "onnxruntime" and row.model == "quantized")
    metadata = json.loads((signs / deployed.file).with_name("metrics.json").read_text())
    assert (manifest["task"], manifest["decoder"]) == ("multilabel", metadata["decoder"])
    assert predictor.manifest.labels == NAMES


@pytest.fixture(scope="module")
def cut_too_far(signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same teacher and student, which are not trained again."""

    def make(folder: Path) -> None:
        shutil.copytree(signs, folder / "run")
        run_recipe(folder, RECIPE.replace("drop: 1.0, steps: 2, round_to: 2", "macs: 0.15, round_to: 1"))

    return made_once(tmp_path_factory, "cut-too-far", make) / "run"


def test_an_unchanged_run_passes_the_gate_and_a_planted_regression_does_not(signs, cut_too_far, tmp_path):
    baseline = tmp_path / "baseline.json"
    load_subject(signs).save(baseline)
    assert check(load_subject(baseline), load_subject(signs), load_policy()).passed
    verdict = check(load_subject(baseline), load_subject(cut_too_far), load_policy())
    assert not verdict.passed
    assert "map" in {finding.metric for finding in verdict.at("fail")}
