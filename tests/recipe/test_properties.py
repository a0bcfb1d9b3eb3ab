"""Whatever is done to a shipped recipe, only a recipe or a RecipeError comes out."""

import random
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.errors import RecipeError
from edgekd.recipe import Recipe, load_recipe

from .test_load import SHIPPED

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "distill", "prune", "quantize", "x.py:f", "~", "~nobody-here", "1e-3", "null", "<<", "="]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=3),
)
KEYS = [
    "prune.macs",
    "distill",
    "stages",
    "stages.0",
    "stages.1.epochs",
    "data.path",
    "student",
    "a.b",
    "extends",
]
SETTINGS = st.one_of(
    st.text(max_size=20),
    st.tuples(st.sampled_from(KEYS), st.one_of(st.text(max_size=10), JUNK.map(str))).map("=".join),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each (container, key) in ``value``."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def mutate(recipe: Any, chance: random.Random, junk: Any) -> None:
    container, key = chance.choice(places(recipe))
    action = chance.choice(["delete", "replace", "rename", "swap", "shuffle"])
    if action == "delete":
        del container[key]
    elif action == "replace":
        container[key] = junk
    elif action == "rename" and isinstance(container, dict):
        container[chance.choice([f"{key}s", str(key)[1:], str(junk)])] = container.pop(key)
    elif action == "swap":
        other, other_key = chance.choice(places(recipe))
        container[key], other[other_key] = yaml.safe_load(yaml.safe_dump([other[other_key], container[key]]))
    elif isinstance(container[key], list):
        chance.shuffle(container[key])


def only_a_recipe_or_its_error(text: str | bytes, overrides: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        try:
            recipe = load_recipe(path, overrides)
        except RecipeError as error:
            assert str(error)
            assert "Input should" not in str(error)
            assert "pydantic" not in str(error)
            return
        assert isinstance(recipe, Recipe)
        assert len(recipe.sha256) == 64
        path.write_text(recipe.to_yaml())
        assert load_recipe(path).to_json() == recipe.to_json()


@settings(deadline=None, max_examples=200)
@given(
    path=st.sampled_from(SHIPPED),
    chance=st.randoms(use_true_random=False),
    junk=st.lists(JUNK, max_size=3),
    overrides=st.lists(SETTINGS, max_size=2),
)
def test_mutated_recipes(path: Path, chance: random.Random, junk: list[Any], overrides: list[str]) -> None:
    recipe = yaml.safe_load(path.read_text())
    for value in junk:
        if places(recipe):
            mutate(recipe, chance, value)
    only_a_recipe_or_its_error(yaml.safe_dump(recipe, allow_unicode=True), overrides)


@settings(deadline=None, max_examples=100)
@given(path=st.sampled_from(SHIPPED), chance=st.randoms(use_true_random=False), junk=st.binary(max_size=4))
def test_damaged_files(path: Path, chance: random.Random, junk: bytes) -> None:
    text = path.read_bytes()
    start = chance.randrange(len(text))
    only_a_recipe_or_its_error(text[:start] + junk + text[start + chance.randrange(40) :], [])


@settings(deadline=None, max_examples=100)
@given(st.one_of(st.text(max_size=60), st.text(alphabet="{}[]:,-?!&*#|>'\"%@`\\ \nax0.~", max_size=40)))
def test_any_text(text: str) -> None:
    only_a_recipe_or_its_error(text, [])
