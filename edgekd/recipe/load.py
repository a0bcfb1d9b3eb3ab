"""From a recipe file to a :class:`Recipe`: read, extend, override, resolve paths, validate."""

from collections.abc import Callable, Sequence
from os.path import normpath
from pathlib import Path

from pydantic import ValidationError

from edgekd.errors import RecipeError
from edgekd.files import read_content
from edgekd.nearest import nearest
from edgekd.options import Mistake
from edgekd.recipe.mistakes import explain, gathered, shown
from edgekd.recipe.open_fields import are_merged, open_fields
from edgekd.recipe.overrides import override
from edgekd.recipe.schema import Recipe, paths_of
from edgekd.recipe.tree import Loc, Origin, Tree, mistake, parse

LARGEST = 256 << 10
LookUp = Callable[[Tree, Recipe | None], Sequence[Mistake]]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load the recipe at ``path``, changed by ``overrides`` as ``--set`` writes them (``prune.macs=0.4``).

    Relative paths are made absolute: against the folder of the file that wrote them, and those of overrides against
    the current directory.

    Raises:
        RecipeError: with a line for each mistake.
    """
    return load_checked(path, overrides, lambda tree, recipe: [])


def load_checked(path: Path, overrides: Sequence[str], look_up: LookUp) -> Recipe:
    """Load a recipe as :func:`load_recipe` does, and have it checked further.

    Args:
        look_up: finds more mistakes in the recipe's tree, and in the recipe, which is None where the tree makes none.
            Each is ``at`` its place in the tree.

    Raises:
        RecipeError: with a line for each mistake.
    """
    tree = read_tree(path, overrides)
    if found := open_fields(tree):
        way_out = f"left open; 'edgekd fit {path}' finds it, or write one value"
        raise RecipeError("\n".join(str(mistake(tree.origin(loc), loc, way_out)) for loc in found))
    return recipe_of(tree, look_up)


def read_tree(path: Path, overrides: Sequence[str] = ()) -> Tree:
    """Read the recipe at ``path`` with what it extends and ``overrides``, before it is validated."""
    tree = read_extended(path, ())
    for setting in overrides:
        override(tree, setting)
    return tree


def recipe_of(tree: Tree, look_up: LookUp = lambda tree, recipe: []) -> Recipe:
    """Validate ``tree``, whose paths are made absolute.

    Args:
        look_up: as for :func:`load_checked`.

    Raises:
        RecipeError: with a line for each mistake.
    """
    written = make_paths_absolute(tree)
    recipe, found = None, []
    try:
        places = {loc: origin.place for loc, origin in tree.origins.items()}
        recipe = Recipe.model_validate(tree.value).written_with(written, places)
    except ValidationError as error:
        found = explain(error)
    if more := gathered([*found, *look_up(tree, recipe)], tree):
        raise more
    assert recipe is not None
    return recipe


def read_extended(path: Path, below: tuple[Path, ...], asked: str = "") -> Tree:
    """Read the recipe at ``path`` and lay it over those that it extends; ``below`` are the files that extend it."""
    tree = read(path, asked)
    files = (*below, path.resolve())
    if files[-1] in below:
        circle = " -> ".join(file.name for file in files)
        raise RecipeError(f"{asked}the recipes extend each other in a circle: {circle}")
    extends = tree.value.pop("extends", None)
    if extends is None:
        return tree
    loc: Loc = ("extends",)
    origin = tree.origin(loc)
    if not isinstance(extends, str):
        raise mistake(origin, loc, f"expected the path of a recipe, got {shown(extends)}")
    base = path.parent / with_home(extends, origin, loc)
    extended = read_extended(base, files, f"{origin.place}: extends: ")
    extended.lay_over(tree, are_merged)
    return extended


def read(path: Path, asked: str) -> Tree:
    text = read_text(path, asked)
    folder = path.parent.resolve()
    tree = parse(text, lambda line: Origin(f"{path}:{line}", folder))
    if tree.value is None:
        raise RecipeError(f"{asked}{path}: the file is empty; 'edgekd init' writes a recipe to start from")
    if not isinstance(tree.value, dict):
        raise RecipeError(f"{asked}{path}:1: expected a mapping with the keys {', '.join(Recipe.model_fields)}")
    return tree


def read_text(path: Path, asked: str) -> str:
    try:
        return read_content(path, RecipeError, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError:
        reason = "not UTF-8 text; save it as UTF-8"
    except RecipeError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            there = [file.stem for file in path.parent.glob("*.yaml")]
            reason = f"no such file{nearest(path.stem, there)}"
        elif error.__cause__ is None and path.is_dir():
            reason = "a folder; name a recipe file in it"
        else:
            reason = "cannot be read: " + str(error).removeprefix(f"cannot read {path}: ")
    raise RecipeError(f"{asked}{path}: {reason}") from None


def make_paths_absolute(tree: Tree) -> dict[str, str]:
    """Make the paths in ``tree`` absolute; return how each of them was written."""
    written = {}
    for loc in paths_of(tree):
        value = tree.at(loc)
        if not isinstance(value, str) or not (loc[-1] in ("path", "checkpoint", "unlabelled") or ".py:" in value):
            continue
        origin = tree.origin(loc)
        resolved = normpath(origin.folder / with_home(value, origin, loc))
        tree.at(loc[:-1])[loc[-1]] = resolved
        written[resolved] = value
    return written


def with_home(value: str, origin: Origin, loc: Loc) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise mistake(origin, loc, f"nobody on this machine has the home that {value!r} names") from None
