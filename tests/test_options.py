"""Options that name something registered: what is added to a registry is an option at once."""

from typing import Annotated

import pytest
from pydantic import ValidationError

from edgekd.data import Data
from edgekd.data.augment import AUGMENTATIONS, Augmentation
from edgekd.data.sources import SOURCES, Source
from edgekd.distill.combination import COMBINATIONS
from edgekd.distill.schedule import FORMS
from edgekd.options import Registered, Section
from edgekd.profiles import FILE_RUNTIMES
from edgekd.recipe.expected import choices, expected, kind_at
from edgekd.stages.quantize.steps import NAMES
from edgekd.train import Train
from edgekd.train.optimizers import OPTIMIZERS
from edgekd.train.schedule import SCHEDULES


class Cutlery(Section):
    tool: Annotated[str, Registered({"fork": 1, "spoon": 2})] = "fork"


def test_names_are_those_of_the_registry():
    assert Cutlery(tool="spoon").tool == "spoon"
    with pytest.raises(ValidationError, match="Input should be 'fork' or 'spoon'"):
        Cutlery(tool="spon")
    with pytest.raises(ValidationError, match="valid string"):
        Cutlery(tool=3)
    tool = Cutlery.model_json_schema()["properties"]["tool"]
    assert tool == {"default": "fork", "enum": ["fork", "spoon"], "title": "Tool", "type": "string"}


@pytest.mark.parametrize(
    ("loc", "registry"),
    [
        (("data", "augment", 0), AUGMENTATIONS),
        (("teacher", "train", "optimizer"), OPTIMIZERS),
        (("stages", 0, "distill", "schedule"), SCHEDULES),
        (("stages", 0, "distill", "weight_schedule", "form"), FORMS),
        (("stages", 0, "quantize", "rungs", 0), NAMES),
        (("teacher", "combine"), COMBINATIONS),
        (("targets", 0, "runtime"), FILE_RUNTIMES),
    ],
)
def test_a_recipe_knows_what_is_registered(loc, registry, monkeypatch):
    kind, bounds = kind_at(loc)
    assert choices(kind, bounds) == tuple(registry)
    monkeypatch.setitem(registry, "new", next(iter(registry.values())))
    assert expected(kind, bounds).endswith("or 'new'")


def test_a_registered_entry_is_an_option(monkeypatch):
    with pytest.raises(ValidationError):
        Train(optimizer="lion")
    monkeypatch.setitem(OPTIMIZERS, "lion", OPTIMIZERS["sgd"])
    assert Train(optimizer="lion").optimizer == "lion"
    monkeypatch.setitem(AUGMENTATIONS, "noop", Augmentation(0, lambda images, uniforms: images))
    monkeypatch.setitem(SOURCES, "disk", Source(SOURCES["npz"].load, images=True, layout=SOURCES["npz"].layout))
    assert Data(source="disk", path="x", augment=("noop",)).source == "disk"
    with pytest.raises(ValidationError, match="source disk needs path"):
        Data(source="disk")
