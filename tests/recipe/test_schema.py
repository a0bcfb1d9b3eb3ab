import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from edgekd.recipe import Data, Distill, Prune, Quantize, Recipe, Teacher, Train, json_schema, load_recipe

from .conftest import SMALL
from .test_load import FITTED, SHIPPED

Write = Callable[..., Path]


def built(**changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "name": "built",
        "data": Data(source="digits"),
        "teacher": Teacher(model="resnet8", train=Train()),
        "stages": (Distill(temperature=2), Prune(params=0.5), Quantize()),
    }
    return Recipe(**{**settings, **changes})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_yaml_loads_as_the_same_recipe(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    again = tmp_path / "again.yaml"
    again.write_text(recipe.to_yaml())
    assert load_recipe(again).to_json() == recipe.to_json()
    assert load_recipe(again).stages == recipe.stages
    assert json.loads(json.dumps(recipe.to_json())) == recipe.to_json()


def test_text_that_looks_like_something_else_survives(tmp_path: Path) -> None:
    args = {
        "a": "1e-3",
        "b": "no",
        "c": "08",
        "d": "null",
        "e": "2024-01-01",
        "f": None,
        "g": [1e-5, 1e20, "é"],
    }
    recipe = built(teacher=Teacher(model="x", args=args, train=Train()))
    path = tmp_path / "r.yaml"
    path.write_text(recipe.to_yaml())
    assert load_recipe(path) == recipe
    assert load_recipe(path).sha256 == recipe.sha256


def test_dump_has_defaults_and_leaves_none_out() -> None:
    dump = built().to_json()
    assert dump["stages"][0]["distill"]["temperature"] == 2.0
    assert dump["stages"][1]["prune"]["max_ratio"] == 0.9
    assert dump["data"]["batch_size"] == 128
    assert "student" not in dump
    assert dump["budget"] == {}


def test_options_of_the_tasks_decoder_are_numbers_of_their_own_kind() -> None:
    recipe = built(task="detection", decoder={"threshold": 0.3, "detections": 50, "iou": 1})
    assert recipe.decoding == {"threshold": 0.3, "detections": 50, "iou": 1.0}
    assert isinstance(recipe.decoding["detections"], int) and built().decoding == {}
    assert recipe.to_json()["decoder"] == recipe.decoding and "decoder" not in built().to_json()
    [known, _] = json_schema()["properties"]["decoder"]["anyOf"]
    assert known["additionalProperties"] is False
    for name, bounds in (
        ("threshold", {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
        ("iou", {"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
        ("detections", {"type": "integer", "minimum": 1, "maximum": 1000}),
        ("sigma", {"type": "number", "exclusiveMinimum": 0, "maximum": 100}),
    ):
        assert bounds.items() <= known["properties"][name].items()


def test_recipes_are_frozen() -> None:
    with pytest.raises(ValidationError):
        built().seed = 1  # type: ignore[misc]


def test_python_is_held_to_the_same_rules() -> None:
    with pytest.raises(ValidationError, match="prune cannot follow quantize"):
        built(stages=(Quantize(), Prune(macs=0.5)))
    with pytest.raises(ValidationError):
        Distill(lr=float("nan"))


def test_schema_is_json_and_names_every_form_of_a_stage() -> None:
    schema = json.loads(json.dumps(json_schema()))
    forms = schema["properties"]["stages"]["anyOf"][0]["items"]["anyOf"]
    assert forms[0] == {"enum": ["distill", "factorize", "prune", "quantize"]}
    assert [form["required"] for form in forms[1:]] == [["distill"], ["factorize"], ["prune"], ["quantize"]]
    assert schema["$defs"]["Distill"]["properties"]["temperature"]["anyOf"][0]["exclusiveMinimum"] == 0


def test_every_field_is_described() -> None:
    for section in json_schema()["$defs"].values():
        assert [key for key, value in section["properties"].items() if "description" not in value] == []


def errors(recipe: Any) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    return [error.message for error in jsonschema.Draft202012Validator(json_schema()).iter_errors(recipe)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_recipes_satisfy_the_schema(path: Path) -> None:
    assert errors(yaml.safe_load(path.read_text())) == []
    assert errors(load_recipe(path).to_json()) == []


@pytest.mark.parametrize("path", FITTED, ids=lambda path: path.name)
def test_recipes_for_a_search_satisfy_the_schema(path: Path) -> None:
    assert errors(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    ("old", "new", "valid"),
    [
        ("", "", True),
        ("- distill", "- distill:", True),
        ("student: {model: small_cnn}", "student:", True),
        ("name: small\n", "extends: base.yaml\n", True),
        ("source: digits", "workers: 1", False),
        ("data: {source: digits}", "extends: base.yaml\ndata: {workers: 1}", True),
        ("name: small\n", "", False),
        ("- distill", "- distil", False),
        ("- distill", "- {distill: {}, prune: {}}", False),
        ("macs: 0.5", "mcas: 0.5", False),
        ("macs: 0.5", "macs: 2", False),
        ("macs: 0.5", "macs: {search: [0.2, 0.9]}", True),
        ("macs: 0.5", "macs: {serach: [0.2, 0.9]}", False),
        ("{macs: 0.5}", "{choice: [{macs: 0.5}, {depth: 0.5}]}", True),
        ("name: small", "name: .small", False),
    ],
)
def test_schema_accepts_what_loads(old: str, new: str, valid: bool) -> None:
    assert (errors(yaml.safe_load(SMALL.replace(old, new, 1))) == []) is valid
