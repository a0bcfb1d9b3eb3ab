"""``edgekd recipe``: check recipes, show one with its defaults, print the schema for editors."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd import plain_text
from edgekd.cli.output import tell
from edgekd.errors import RecipeError

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
    """Check that recipes can run, and list every mistake."""
    from edgekd.pipeline.check import check_recipe
    from edgekd.pipeline.target_plan import describe_targets

    documents, mistakes = [], []
    for path in recipes:
        try:
            checked = check_recipe(path, overrides)
        except RecipeError as error:
            documents.append({"path": str(path), "ok": False, "mistakes": str(error).splitlines()})
            mistakes.append(str(error))
            continue
        targets = [each.to_json() for each in checked.targets]
        documents.append({"path": str(path), "ok": True, **to_json(checked.recipe), "targets": targets})
        if not as_json:
            tell("\n".join([line(checked.recipe), *describe_targets(checked.recipe, checked.targets)]))
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


def to_json(recipe: "Recipe") -> dict[str, Any]:
    return {"name": recipe.name, "stages": [stage.name for stage in recipe.stages], "sha256": recipe.sha256}


def line(recipe: "Recipe") -> str:
    count = "1 stage" if len(recipe.stages) == 1 else f"{len(recipe.stages)} stages"
    return f"ok  {recipe.name}  ({count}: {' -> '.join(stage.name for stage in recipe.stages)})"
