"""``edgekd recipe``: check recipes, show one with its defaults, print the schema for editors."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd import plain_text
from edgekd.cli.output import tell
from edgekd.errors import EdgekdError, RecipeError

if TYPE_CHECKING:
    from edgekd.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Check recipes, show one with its defaults, print their schema."
)

Files = Annotated[list[Path], typer.Argument(metavar="RECIPE...", help="Recipe files.")]
File = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file.")]
Set = Annotated[list[str], typer.Option("--set", metavar="K=V", help="Override, e.g. prune.macs=0.4.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def check(recipes: Files, overrides: Set = [], as_json: Json = False) -> None:  # noqa: B006
    """List every mistake in recipes. 'edgekd run --dry-run' tries their data and networks too."""
    documents, mistakes = [], []
    for path in recipes:
        try:
            document, words = checked(path, overrides)
        except EdgekdError as error:  # such as of the registry of devices
            documents.append({"path": str(path), "ok": False, "mistakes": str(error).splitlines()})
            mistakes.append(str(error))
            continue
        documents.append({"path": str(path), "ok": True, **document})
        if not as_json:
            tell(words)
    if as_json:
        typer.echo(json.dumps(documents, indent=1))
    if mistakes:
        raise RecipeError("\n".join(mistakes))


@app.command()
def schema() -> None:
    """Print JSON Schema of recipes, for editors."""
    from edgekd.recipe import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


@app.command()
def show(recipe: File, overrides: Set = [], as_json: Json = False) -> None:  # noqa: B006
    """Print a recipe as it will run: extended, overridden, with defaults and absolute paths."""
    from edgekd.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    typer.echo(json.dumps(loaded.to_json(), indent=1) if as_json else plain_text.lines(loaded.to_yaml().rstrip()))


def checked(path: Path, overrides: list[str]) -> tuple[dict[str, Any], str]:
    """Return the facts of the recipe at ``path``, and lines with them."""
    from edgekd.recipe.load import read_tree
    from edgekd.recipe.open_fields import is_open

    if is_open(read_tree(path, overrides)):
        return checked_space(path, overrides)
    from edgekd.pipeline.check import check_recipe
    from edgekd.pipeline.target_plan import describe_targets

    found = check_recipe(path, overrides)
    targets = [each.to_json() for each in found.targets]
    notes = [f"note     {note}" for note in found.notes]
    words = "\n".join([line(found.recipe), *describe_targets(found.recipe, found.targets), *notes])
    further = {"notes": list(found.notes)} if found.notes else {}
    return {**to_json(found.recipe), "targets": targets, **further}, words


def checked_space(path: Path, overrides: list[str]) -> tuple[dict[str, Any], str]:
    """Return the facts of the recipe at ``path``, which leaves fields open, and lines with them."""
    from edgekd.errors import DeviceError
    from edgekd.pipeline.resolve import resolve_targets
    from edgekd.pipeline.target_plan import describe_targets, plan_targets
    from edgekd.search.opening import open_space

    space = open_space(path, overrides)
    try:
        base, probed = resolve_targets(space.base)
    except DeviceError as error:
        raise RecipeError(f"{path}: {error}") from error
    plans = plan_targets(base, probed)
    arms = [arm.name for arm in space.arms]
    dimensions = [each.name for each in space.dimensions]
    targets = [each.to_json() for each in plans]
    document = {"name": base.name, "arms": arms, "dimensions": dimensions, "targets": targets}
    count = "1 kind of student" if len(arms) == 1 else f"{len(arms)} kinds of students"
    words = [f"ok  {base.name}  (edgekd fit: {count}: {'; '.join(arms)})", *describe_targets(base, plans)]
    return document, "\n".join(words)


def to_json(recipe: "Recipe") -> dict[str, Any]:
    return {"name": recipe.name, "stages": [stage.name for stage in recipe.stages], "sha256": recipe.sha256}


def line(recipe: "Recipe") -> str:
    count = "1 stage" if len(recipe.stages) == 1 else f"{len(recipe.stages)} stages"
    return f"ok  {recipe.name}  ({count}: {' -> '.join(stage.name for stage in recipe.stages)})"
