"""``edgekd init``: a recipe to start from."""

from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli.output import tell
from edgekd.errors import StorageError


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("recipe.yaml"),
) -> None:
    """Write a starter recipe for your own model and data."""
    from edgekd.files import write_text

    if path.exists():
        raise StorageError(f"{path} is there already: name another file, or remove it first")
    write_text(path, (resources("edgekd.recipe") / "starter.yaml").read_text(encoding="utf-8"))
    tell(f"{path} written; change it, then: edgekd recipe check {path}")
