"""The folder of a search: the names in it, and one search at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekd.errors import StorageError
from edgekd.files import make_folder, storage
from edgekd.scratch import hold

JOURNAL, SUMMARY, WINNER_RECIPE = "journal.jsonl", "fit.json", "winner.yaml"
TRIALS, PRICES, CACHE, WINNER, WORKER_LOG = "trials", "prices", "cache", "winner", "worker.log"
LOCK, RAY_LOG = ".lock", "ray.log"
# What a search writes before its record; a run's folder has a lock of that name too.
BEFORE_RECORD = {LOCK, RAY_LOG}
SCHEMA_VERSION = 1


@contextmanager
def fit_folder(folder: Path) -> Iterator[None]:
    """Keep other searches out of ``folder`` in the block.

    Raises:
        StorageError: another one is at work there, or the folder holds something else.
    """
    if folder.is_dir() and not (folder / JOURNAL).is_file():
        with storage(folder):
            others = {each.name for each in folder.iterdir()} - BEFORE_RECORD
        if others:
            raise StorageError(f"{folder} is not empty and holds no search: choose another folder with --out")
    make_folder(folder)
    try:
        with storage(folder), hold(folder / LOCK):
            yield
    except StorageError as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise
        raise StorageError(
            f"another search is at work in {folder}: wait for it, or choose another folder with --out"
        ) from error
