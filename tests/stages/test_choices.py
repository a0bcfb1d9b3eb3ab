"""Choices that recipes are checked by without PyTorch are those of the registries, which need it."""

from typing import get_args

import pytest

from edgekd.errors import RecipeError
from edgekd.factorize import METHODS
from edgekd.prune.importance.reduction import REDUCTIONS
from edgekd.prune.importance.scope import SCOPES
from edgekd.prune.schedule import SCHEDULES
from edgekd.quantize.calibration import CALIBRATIONS
from edgekd.recipe import load_recipe
from edgekd.stages import STAGES, Prune, Quantize
from edgekd.stages.factorize.options import Factorize
from edgekd.stages.network import TRANSFORMS
from edgekd.stages.quantize.options import AUTO
from edgekd.stages.teacher import Pretraining
from edgekd.stages.work import WORK
from tests.toy import write_recipe


def choices(stage: type, key: str) -> set[str]:
    kinds, found = [stage.model_fields[key].annotation], set()
    while kinds:
        kind = kinds.pop()
        found |= {each for each in get_args(kind) if isinstance(each, str)}
        kinds += [each for each in get_args(kind) if not isinstance(each, str)]
    return found


def test_each_choice_is_registered_and_each_entry_can_be_chosen():
    assert choices(Prune, "scope") == set(SCOPES)
    assert choices(Prune, "reduction") == set(REDUCTIONS)
    assert choices(Prune, "cut_schedule") == set(SCHEDULES)
    assert choices(Quantize, "calibration") == {AUTO, *CALIBRATIONS}
    assert choices(Factorize, "methods") == set(METHODS)


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
