"""A process that runs one job of a search after another: ``python -m edgekd.search.worker``, jobs on standard input.

A job and its result are a line of JSON each. What a job logs goes to standard error. The process ends with the one that
started it, whose end it sees as the end of its input.
"""

import errno
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from edgekd.data import DataSet, load_data
from edgekd.errors import DisturbedError, EdgekdError, ModelError, StorageError, UnavailableError, first_line
from edgekd.files import canonical_json
from edgekd.log import show_logs
from edgekd.pipeline.candidate import try_recipe
from edgekd.pipeline.folder import wait_until_left
from edgekd.pipeline.run import run
from edgekd.pipeline.start import starts_of
from edgekd.recipe import Recipe, load_recipe
from edgekd.search.finalists import time_files
from edgekd.search.step_times import step_times
from edgekd.search.study_log import STEPS
from edgekd.strict_json import JsonObject
from edgekd.train.batches import batches

# Errors that say nothing of a candidate.
OF_THE_MOMENT = (UnavailableError, DisturbedError)
FULL = (errno.ENOSPC, errno.EDQUOT)


class Loaded:
    """The data set of the last recipe, which that of the next one mostly is: images take seconds to read."""

    def __init__(self) -> None:
        self._key: bytes = b""
        self._data: DataSet | None = None

    def of(self, recipe: Recipe) -> DataSet:
        """Return what ``recipe`` learns from, loaded if that is not the last one's."""
        key = canonical_json([recipe.data.model_dump(mode="json"), recipe.seed, recipe.task, recipe.decoding])
        if self._data is None or key != self._key:
            # Two at a time may be too large.
            self._data = None
            self._data = load_data(recipe.data, recipe.seed, recipe.kind, recipe.decoding)
            self._key = key
        return self._data


def try_candidate(job: JsonObject, loaded: Loaded) -> JsonObject:
    """Train the recipe of ``job`` and score it on the validation samples.

    Raises:
        ModelError: a figure is no finite number: nothing can be decided by it.
    """
    recipe, folder = load_recipe(Path(job["recipe"])), Path(job["folder"])
    cache, known, earlier = Path(job["cache"]), job["teacher_ms"], [Path(each) for each in job.get("earlier", ())]
    timed, filed = job["timed"], job["filed"]
    found = try_recipe(
        recipe, folder, cache, data=loaded.of(recipe), timed=timed, filed=filed, teacher_ms=known, earlier=earlier
    )
    drops = {f"drop of {name}": drop for name, (drop, _) in found.others.items()}
    errors = {f"standard error of {name}": error for name, (_, error) in found.others.items()}
    for name, value in {**found.to_json(), **drops, **errors}.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ModelError(f"its {name} on {found.n} validation samples is {value}: more of them may help")
    return found.to_json()


def run_winner(job: JsonObject, _: Loaded) -> JsonObject:
    """Run the recipe of ``job`` from end to end; the report is in its folder."""
    recipe, folder = load_recipe(Path(job["recipe"])), Path(job["folder"])
    run(recipe, folder, command=job["command"], cache=Path(job["cache"]))
    return {}


def time_steps(job: JsonObject, loaded: Loaded) -> JsonObject:
    """Time a training step of the teacher of ``job``, and of each student."""
    recipe, others = load_recipe(Path(job["recipe"])), _others(job)
    return step_times(recipe, others, loaded.of(recipe))


def read_contents(job: JsonObject, loaded: Loaded) -> JsonObject:
    """Hash the data of ``job`` and each network before its first stage, by what people call them.

    The hashes are those by which a run finds finished stages again: of samples, checkpoints, arguments and users' code.
    With them are the steps of an epoch.
    """
    recipe, others = load_recipe(Path(job["recipe"])), _others(job)
    data = loaded.of(recipe)
    starts = starts_of(recipe, data)
    named = {"the teacher": starts.teachers[0], "the student": starts.student}
    named |= {f"teacher {number}": each for number, each in enumerate(starts.teachers[1:], start=2)}
    named |= {f"the student of {name}": starts_of(other, data).student for name, other in others.items()}
    hashes = {"the data": data.fingerprint, **{name: start.key for name, start in named.items() if start is not None}}
    return {**hashes, STEPS: len(batches(data, recipe.seed, 0))}


def _others(job: JsonObject) -> dict[str, Recipe]:
    return {name: load_recipe(Path(path)) for name, path in job["others"].items()}


JOBS: dict[str, Callable[[JsonObject, Loaded], JsonObject]] = {
    "try": try_candidate,
    "run": run_winner,
    "contents": read_contents,
    "step": time_steps,
    "time": lambda job, _: time_files(load_recipe(Path(job["recipe"])), job["folders"]),
}


def carry_out(job: JsonObject, loaded: Loaded | None = None) -> JsonObject:
    """Do ``job``; return its result, or why it failed.

    Args:
        loaded: what the jobs before have read.
    """
    started = time.monotonic()
    try:
        if "folder" in job:
            # No other search has the folder: at work there is a worker that a lost node or an earlier start left.
            wait_until_left(Path(job["folder"]))
        result: JsonObject = {"result": JOBS[job["job"]](job, loaded or Loaded())}
    except EdgekdError as error:
        result = {"error": first_line(_without_place(error)), "kind": _kind(error)}
    except MemoryError:
        result = {"error": "out of memory", "kind": "MemoryError"}
    except Exception as error:  # a user's code, a package: the search goes on without this candidate
        result = {"error": f"{type(error).__name__}: {first_line(error)}", "kind": _kind(error)}
    return {**result, "seconds": round(time.monotonic() - started, 2)}


def _without_place(error: EdgekdError) -> EdgekdError:
    """A place in a candidate's recipe is one in a file that its search wrote, and the longest part of a message."""
    cause = error.__cause__
    return cause if isinstance(cause, EdgekdError) and str(error).endswith(f": {cause}") else error


def _kind(error: BaseException) -> str:
    """Name the kind of a failure.

    A device that cannot be used, a busy machine, or a full disk is what happened, whatever was made of it on the way.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL:
            return StorageError.__name__
        if found := next((kind for kind in OF_THE_MOMENT if isinstance(cause, kind)), None):
            return found.__name__
        cause = cause.__cause__
    return type(error).__name__


def main() -> None:
    """Read jobs until the input ends."""
    # What libraries print must not become a result.
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    show_logs()
    jobs: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    loaded = Loaded()
    while True:
        results.write(json.dumps(carry_out(jobs.get(), loaded)) + "\n")
        results.flush()


def _read(jobs: "SimpleQueue[Any]") -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    # At once, in the middle of a training too: the next search finds its checkpoint.
    os._exit(0)


if __name__ == "__main__":
    main()
