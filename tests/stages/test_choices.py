"""Choices that recipes are checked by without PyTorch are those of the registries, which need it."""

import subprocess
import sys

import pytest

from edgekd.errors import RecipeError
from edgekd.factorize.registry import DECOMPOSITIONS
from edgekd.prune.reduction import REDUCTIONS
from edgekd.prune.schedule import SCHEDULES as CUT_SCHEDULES
from edgekd.prune.scope import SCOPES
from edgekd.quantize.registry import CALIBRATIONS
from edgekd.recipe import load_recipe
from edgekd.stages import STAGES
from edgekd.stages.network import TRANSFORMS
from edgekd.stages.teacher import Pretraining
from edgekd.stages.work import WORK
from tests.toy import write_recipe


@pytest.mark.parametrize("registry", [CALIBRATIONS, CUT_SCHEDULES, DECOMPOSITIONS, REDUCTIONS, SCOPES])
def test_each_name_has_its_entry_and_each_entry_its_name(registry):
    named = list(registry)
    assert all(callable(registry[each]) for each in named)
    assert set(registry.data) == set(named)


def test_an_entry_of_ones_own_is_a_choice(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="'mine'"):
        load_recipe(write_recipe(tmp_path), ["quantize.calibration=mine"])
    monkeypatch.setitem(CALIBRATIONS, "mine", CALIBRATIONS["minmax"])
    assert load_recipe(write_recipe(tmp_path), ["quantize.calibration=mine"]).stages[-1].calibration == "mine"


def test_recipes_are_read_without_the_entries():
    code = "import sys; from edgekd.recipe import json_schema; json_schema(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_stage_has_its_work():
    assert set(WORK) == {*STAGES, Pretraining.name}
    assert set(TRANSFORMS) < set(STAGES)


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [
        ("prune.scope=pathss", "paths"),
        ("prune.reduction=meen", "mean"),
        ("prune.cut_schedule=cubik", "cubic"),
        ("quantize.calibration=automatic", "auto"),
        ("quantize.calibration=minmx", "minmax"),
    ],
)
def test_a_mistake_is_found_when_the_recipe_is_read(tmp_path, setting, nearest):
    with pytest.raises(RecipeError, match=f"--set {setting}.*'{nearest}'"):
        load_recipe(write_recipe(tmp_path), [setting])
