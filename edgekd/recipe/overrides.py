"""``--set KEY=VALUE``: a change to a recipe from the command line."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from edgekd.errors import RecipeError
from edgekd.nearest import among
from edgekd.recipe.schema import EVERY_KEY, Recipe
from edgekd.recipe.tree import Loc, Origin, Tree, dotted, parse
from edgekd.stages import STAGES


def override(tree: Tree, setting: str) -> None:
    """Change ``tree`` by ``setting``: ``prune.macs=0.4``, ``stages.0.epochs=2``, ``data.workers=0``."""
    key, equals, text = setting.partition("=")
    origin = Origin(f"--set {setting}", Path.cwd())
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"{origin.place}: expected KEY=VALUE, e.g. --set distill.epochs=2")
    value = parse(text, lambda line: origin).value
    spell_out_stages(tree)
    for path in paths(tree, parts, origin):
        loc = locate(tree, path, origin)
        tree.put(loc, deepcopy(value), {loc: origin})


def spell_out_stages(tree: Tree) -> None:
    stages = tree.at(("stages",))
    for index, stage in enumerate(stages if isinstance(stages, list) else []):
        if isinstance(stage, str):
            stages[index] = {stage: {}}


def paths(tree: Tree, parts: list[str], origin: Origin) -> list[list[str]]:
    """Return the full paths that ``parts`` stands for; a stage's name stands for all stages of that name."""
    names = stage_names(tree)
    first, *rest = parts
    if first in STAGES:
        found = [["stages", str(index), first, *rest] for index, name in enumerate(names) if name == first]
        if not found:
            raise RecipeError(f"{origin.place}: the recipe has no stage {first}; its stages: {', '.join(names)}")
        return found
    if first not in Recipe.model_fields:
        known = [*STAGES, *Recipe.model_fields]
        raise RecipeError(f"{origin.place}: unknown key {first!r}{among(first, known, EVERY_KEY)}")
    if first == "stages" and len(rest) > 1:
        return [["stages", *within_stage(rest, names)]]
    return [parts]


def stage_names(tree: Tree) -> list[str]:
    stages = tree.at(("stages",))
    stages = stages if isinstance(stages, list) else []
    return [next(iter(stage), "") if isinstance(stage, dict) else "" for stage in stages]


def within_stage(parts: list[str], names: list[str]) -> list[str]:
    """Rewrite ``0.epochs`` as ``0.distill.epochs``, the way that it is nested."""
    index, *rest = parts
    by_index = {str(number): name for number, name in enumerate(names)}
    name = by_index.get(index, rest[0])
    return [index, *(rest if rest[0] == name else [name, *rest])]


def locate(tree: Tree, path: list[str], origin: Origin) -> Loc:
    """Find the location that ``path`` names, and make the sections that are missing on the way to it."""
    loc: Loc = ()
    for part in path:
        holder = tree.at(loc)
        if holder is None:
            holder = {}
            tree.put(loc, holder, {loc: origin})
        loc = (*loc, item(holder, part, loc, origin))
    return loc


def item(holder: Any, part: str, loc: Loc, origin: Origin) -> str | int:
    if isinstance(holder, dict):
        return part
    if not isinstance(holder, list):
        raise RecipeError(f"{origin.place}: {dotted(loc)} is not a section, so it has no {part!r}")
    if part not in map(str, range(len(holder))):
        items = f"0 to {len(holder) - 1}" if holder else "none, it is empty"
        raise RecipeError(f"{origin.place}: {dotted(loc)} has no item {part!r}; its items: {items}")
    return int(part)
