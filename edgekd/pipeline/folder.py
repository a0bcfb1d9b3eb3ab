"""The run folder: known by its marker, one run at a time, and nothing in it touched that no run made."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import rmtree

from edgekd.artifact_cache import SUMS, ArtifactCache
from edgekd.bundle.pack import is_bundle_alone
from edgekd.errors import StorageError
from edgekd.files import ASIDE, is_file, is_folder, lies_there, make_folder, move_aside, storage, write_json
from edgekd.log import get_logger
from edgekd.pipeline.finished import FINISHED
from edgekd.pipeline.outputs import PRODUCTS
from edgekd.scratch import hold, remove_leftovers

logger = get_logger(__name__)

MARKER = "edgekd-run.json"
SCHEMA_VERSION = 1
LOCK = ".lock"
RECIPE, LOG, BUNDLE, TENSORBOARD = "recipe.lock.yaml", "log.jsonl", "bundle", "tensorboard"
STORES = ("stages", "exports", "measurements")
FOLDERS = (*STORES, BUNDLE, TENSORBOARD)
FILES = ("report.json", "report.html", FINISHED, PRODUCTS, LOG, RECIPE)
EVENTS = re.compile(r"events\.out\.tfevents\..+")


@contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Keep other runs out of ``folder`` in the block.

    Raises:
        StorageError: another run is at work there, or something there has a name that a run writes to and is none of a
            run's.
    """
    must_be_free(folder)
    make_folder(folder)
    with ExitStack() as stack:
        try:
            with storage(folder):
                stack.enter_context(hold(folder / LOCK))
        except StorageError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            raise StorageError(
                f"another run is at work in {folder}: wait for it, or choose another folder with --out"
            ) from error
        yield


def wait_until_left(folder: Path) -> None:
    """Wait until no run is at work in ``folder``.

    Raises:
        StorageError: the folder's lock cannot be looked at.
    """
    if is_file(folder / LOCK):
        with storage(folder), hold(folder / LOCK, lambda: logger.warning(f"waiting for a run in {folder} to end")):
            pass


def is_run(folder: Path) -> bool:
    """Return whether a run made it. Earlier versions wrote no marker; their runs began with the recipe."""
    if is_file(folder / MARKER):
        return True
    return is_file(folder / RECIPE) and (is_file(folder / LOG) or (folder / "stages").is_dir())


def must_be_free(folder: Path) -> None:
    if not lies_there(folder) or is_run(folder):
        return
    with storage(folder):
        there = [name for name in (*FOLDERS, *FILES, MARKER, LOCK) if lies_there(folder / name)]
        taken = [name for name in there if not _is_free(folder / name)]
    if taken:
        raise StorageError(
            f"{folder} is no run of edgekd, and holds {' and '.join(taken)}, where a run writes: choose another folder "
            "with --out, or move it away"
        )


def begin(folder: Path, fresh: bool) -> None:
    """Mark ``folder`` as a run's, with nothing in the way of this one; ``fresh`` removes what earlier ones made.

    For a run that holds it and has been planned.
    """
    with storage(folder):
        remove_leftovers(folder)
        if fresh:
            _clear(folder)
        for name in FOLDERS:
            # A link to a folder may lead to a larger disk, or to what several runs share.
            if lies_there(folder / name) and not (folder / name).is_dir():
                move_aside(folder / name)
        for name in (*FILES, MARKER):
            if lies_there(folder / name) and not is_file(folder / name):
                move_aside(folder / name)
        write_json(folder / MARKER, {"edgekd": "run", "schema_version": SCHEMA_VERSION})


def _clear(folder: Path) -> None:
    """The report first: what is left after a kill is no finished run."""
    for name in FILES:
        if is_file(folder / name):
            (folder / name).unlink()
    for name in FOLDERS:
        if (folder / name).is_symlink():
            move_aside(folder / name)
    for name in STORES:
        ArtifactCache(folder / name).clear()
    if lies_there(folder / BUNDLE):
        if is_bundle_alone(folder / BUNDLE):
            rmtree(folder / BUNDLE)
        else:
            move_aside(folder / BUNDLE)
    for path in sorted((folder / TENSORBOARD).glob("*")):
        if is_file(path) and EVENTS.fullmatch(path.name):
            path.unlink()


def _is_free(path: Path) -> bool:
    """Of an empty folder nothing can be lost, and what several runs share holds entries; a lock is an empty file."""
    if path.name in STORES and path.is_dir():
        return all(is_file(each / SUMS) for each in path.iterdir() if each.name[0] != "." and each.name != ASIDE)
    if is_folder(path):
        return not any(path.iterdir())
    return path.name == LOCK and is_file(path) and not path.stat().st_size
