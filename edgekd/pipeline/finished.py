"""A finished run that is started again: where nothing that it was made of has changed, nothing is done."""

import platform
from pathlib import Path
from typing import Any

from edgekd.bench.environment import cpu
from edgekd.data import DataSet, load_data
from edgekd.devices.registry import LOCAL
from edgekd.errors import EdgekdError
from edgekd.files import canonical_json, read_object, sha256, sha256_file, write_json
from edgekd.log import get_logger
from edgekd.pipeline.outputs import digests, packages, source_digest
from edgekd.recipe import Recipe
from edgekd.report.load import load_report
from edgekd.report.schema import Report
from edgekd.userfile import is_reference

logger = get_logger(__name__)

FINISHED = "finished.json"
VERSION = 1
PRODUCTS = ("recipe.lock.yaml", "report.json", "report.html", "stages", "exports", "measurements", "bundle")


def record(folder: Path, recipe: Recipe, data: DataSet, report: Report, command: str) -> None:
    """Write down what the run in ``folder`` was made of, and the hash of each of its files.

    Nothing is written where a further start has something to look at: a figure that was measured in trouble, a device
    that may have changed, a user's code.
    """
    if is_settled(recipe) and all(row.valid for row in report.rows):
        write_json(
            folder / FINISHED,
            {"key": key_of(recipe, command), "data": data.decoded_fingerprint, "files": digests(folder, PRODUCTS)},
        )


def finished(folder: Path, recipe: Recipe, command: str) -> Report | None:
    """Return the report of the run in ``folder`` if there is nothing left to do, without loading a network.

    Raises:
        DataError: the data cannot be loaded any more.
    """
    try:
        known = read_object(folder / FINISHED, "it is made again")
        is_same = (
            is_settled(recipe)
            and known.get("key") == key_of(recipe, command)
            and known.get("files") == digests(folder, PRODUCTS)
        )
    # OSError is of a file that is gone, such as a checkpoint: the check of the recipe says in which line it is named.
    except (EdgekdError, OSError):
        return None
    if not is_same:
        return None
    data = load_data(recipe.data, recipe.seed, recipe.kind, recipe.decoding)
    if known.get("data") != data.decoded_fingerprint:
        return None
    logger.info(f"{folder}: finished before, and nothing has changed since")
    return load_report(folder)


def is_settled(recipe: Recipe) -> bool:
    """Return whether all that the run depends on can be hashed before it starts."""
    return all(target.device in LOCAL for target in recipe.targets) and not any(
        is_reference(section.model) for section in networks(recipe)
    )


def networks(recipe: Recipe) -> list[Any]:
    return [recipe.teacher, *recipe.teacher.others, *([recipe.student] if recipe.student else [])]


def key_of(recipe: Recipe, command: str) -> str:
    """Hash the recipe, its checkpoints, this edgekd, every installed package, and the machine."""
    checkpoints = [sha256_file(each.checkpoint) for each in networks(recipe) if each.checkpoint]
    machine = [platform.python_version(), platform.release(), cpu().to_json()]
    about = [VERSION, recipe.to_json(), command, checkpoints, source_digest(), packages(), machine]
    return sha256(canonical_json(about))
