"""Recipes that are tried without their test set, on a toy run's stages."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgekd.data import load_data
from edgekd.options import Budget
from edgekd.pipeline import candidate
from edgekd.pipeline.candidate import ScoredFile, further_drops, likeness, try_recipe
from edgekd.recipe import load_recipe
from edgekd.records.candidate_figures import Figures
from edgekd.tasks.metric import Correct
from edgekd.tasks.regression import Regression
from tests.toy import RECIPE, write_recipe


def test_stages_are_taken_from_the_cache_and_the_file_is_scored_on_the_validation_samples(
    toy_again: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe(tmp_path))
    stages = sorted(path.name for path in (toy_again / "stages").iterdir() if path.name[0] != ".")
    found = try_recipe(recipe, tmp_path / "trial", toy_again)
    assert sorted(path.name for path in (toy_again / "stages").iterdir() if path.name[0] != ".") == stages
    data = load_data(recipe.data, recipe.seed, recipe.kind)
    assert found.n == len(data.validation)
    assert found.size_bytes < found.teacher_size_bytes and found.macs < found.teacher_macs
    assert found.ms is None
    [teacher, last] = sorted((tmp_path / "trial/exports").iterdir())
    values = [ScoredFile(folder).evidence(data).value() for folder in (teacher, last)]
    assert found.value == values[1]
    assert abs(found.drop - (values[0] - values[1])) < 1e-9
    assert 0 < found.error < 0.5
    assert Figures.from_json(found.to_json()) == found
    assert not (tmp_path / "trial/report.json").exists()
    # Its samples are as those of the same network.
    again = try_recipe(recipe, tmp_path / "again", toy_again, earlier=[tmp_path / "trial", tmp_path / "none"])
    assert found.likeness is None and again.likeness == pytest.approx(1.0)
    # The networks themselves are as good, and no file is written.
    quick = try_recipe(recipe, tmp_path / "quick", toy_again, filed=False)
    assert abs(quick.drop - found.drop) < 0.2
    assert not (tmp_path / "quick/exports").exists()


def test_each_metric_that_is_bounded_has_its_drop() -> None:
    """The teacher is off by 1 in every other of 100 samples, and the network by 2 in all."""
    labels = torch.linspace(0, 10, 100)[:, None]
    errors = torch.where(torch.arange(100) % 2 == 0, 1.0, 0.0)[:, None]
    data: Any = SimpleNamespace(task=Regression(("y",)), validation=SimpleNamespace(labels=labels))
    found = further_drops(labels + errors, labels + 2, data, Budget(drop={"mae": 1.0, "rmse": 1.0, "r2": 0.1}))
    variance = float(labels.var(correction=0))
    assert found["rmse"][0] == pytest.approx(2 - 0.5**0.5, rel=1e-5)
    assert found["r2"][0] == pytest.approx((4 - 0.5) / variance, rel=1e-5)
    assert found.keys() == {"rmse", "r2"} and all(error > 0 for _, error in found.values())
    assert further_drops(labels, labels, data, Budget(drop={"mae": 1.0})) == {}


def test_costs_are_those_of_the_file_that_a_measured_placement_chooses(
    toy_again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate, "predicted_ms", lambda file, precision, target: 2 if precision == "int8" else 1)
    text = RECIPE.replace("epochs: 1, rungs: [qat], placement: int8", "epochs: 0, rungs: [ptq], placement: measured")
    recipe = load_recipe(write_recipe(tmp_path, text))
    free = recipe.model_copy(update={"budget": Budget()})
    found = try_recipe(free, tmp_path / "trial", toy_again, timed=True)
    folder = sorted((tmp_path / "trial/exports").iterdir())[-1]
    assert (found.ms, found.size_bytes) == (1, (folder / "float.onnx").stat().st_size)
    last = ScoredFile(folder)
    assert last.twin_within(Budget(), 1) == folder / "float.onnx"
    assert last.twin_within(Budget(size_ratio=0.5), found.size_bytes) is None
    small = recipe.model_copy(update={"budget": Budget(size_mb=0.99 * found.size_bytes / 1e6)})
    found = try_recipe(small, tmp_path / "small", toy_again, timed=True)
    assert (found.ms, found.size_bytes) == (2, (folder / "model.onnx").stat().st_size)


def test_costs_are_those_of_the_target_that_the_budget_is_judged_on(
    toy_again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first target is not there, so that a run judges the budget on the second."""
    timed: list[str] = []
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "devices.json"))
    monkeypatch.setattr(candidate, "predicted_ms", lambda file, precision, target: timed.append(target.device))
    text = RECIPE.replace("epochs: 1, rungs: [qat]", "epochs: 0, rungs: [ptq]")
    recipe = load_recipe(write_recipe(tmp_path, text + "targets: [{device: pi, architecture: arm}, {device: cpu}]\n"))
    try_recipe(recipe, tmp_path / "trial", toy_again, timed=True)
    assert set(timed) == {"cpu"}


def test_students_are_alike_where_the_same_samples_tell_them_from_their_teacher() -> None:
    teacher, count = Correct([True] * 100), range(100)
    own, other = Correct([each >= 10 for each in count]), Correct([each < 90 for each in count])
    assert likeness(teacher, own, [own]) == pytest.approx(1.0)
    # Of shares of a tenth that never meet: -p / (1 - p).
    assert likeness(teacher, own, [other]) == pytest.approx(-1 / 9)
    assert likeness(teacher, own, [own, other]) == pytest.approx(4 / 9)
    assert likeness(teacher, own, []) is None
    assert likeness(teacher, own, [teacher]) is None
