"""The record of a search: one JSON object a line, only ever appended to, on the disk before the search goes on."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from edgekd.data.options import SHARE_OF_TRAIN, Data
from edgekd.errors import StorageError
from edgekd.files import canonical_json, read_content, sha256, storage
from edgekd.recipe import Recipe
from edgekd.records.candidate_figures import MACHINE
from edgekd.search.space import ARM, Space
from edgekd.strict_json import JsonObject

EVENT = "event"
# Of a job, and of the time while it is done: from neither of them follows what is tried.
START, RUNNING = "start", "running"
# Of data: how fast they are read, and not which they are.
OF_READING = ("workers", "in_memory", "download")
# Of contents, in addition to their hashes: of an epoch, by which a stage's training is as long as in a run.
STEPS = "steps"


class StudyLog:
    """The events of a search in the file ``path``, oldest first.

    All that a search decides follows from them, so that one that was killed goes on with the same decisions. A last
    line that a kill cut short is no event.
    """

    def __init__(self, path: Path):
        self.path = path
        self.events: list[JsonObject] = _read(path)
        self._lock = Lock()

    def append(self, event: str, **fields: Any) -> JsonObject:
        """Add an event; when this returns, the disk has it."""
        entry = {EVENT: event, **fields}
        line = json.dumps(entry, sort_keys=True, allow_nan=False) + "\n"
        # As a later process reads it.
        read: JsonObject = json.loads(line)
        with self._lock:
            with storage(self.path), self.path.open("ab+") as file:
                _cut_torn_line(file)
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
            self.events.append(read)
        return read

    def of(self, event: str) -> list[JsonObject]:
        """Return the events of one kind."""
        return [entry for entry in self.events if entry[EVENT] == event]

    def of_machine(self, event: str, machine: str | None) -> list[JsonObject]:
        """Return the events of one kind whose times are of ``machine``, if it is known, and those that say none."""
        return [entry for entry in self.of(event) if machine is None or entry.get(MACHINE) in (None, machine)]

    def last(self, event: str) -> JsonObject | None:
        """Return the newest event of one kind, or None."""
        found = self.of(event)
        return found[-1] if found else None

    @property
    def seconds(self) -> float:
        """Return how long all that it records took; what was done at the same time counts once."""
        total = 0.0
        for entry in self.events:
            total = float(entry["spent"]) if "spent" in entry else total + float(entry.get("seconds", 0.0))
        return total


def search_keys(space: Space, others: Sequence[Any], older: Sequence[Any]) -> tuple[str, ...]:
    """Return the hashes of the recipes of ``space`` and of ``others``, from which a search's decisions follow.

    Options that are newer than a search are no part of it where they do what was done before them, nor are a search's
    name and what decides how fast data are read. A value that is written out is the same as the default that it is.

    Args:
        others: further JSON that decisions follow from.
        older: the same for searches whose hashes are of recipes as they were written.

    Returns:
        The hash, and those that older searches have: with recipes as they were written, and with absolute paths too.
    """
    recipes = [_decisive(space.recipe({ARM: arm.name})) for arm in space.arms]
    for each in recipes:
        del each["name"]
        for name in OF_READING:
            each["data"].pop(name, None)
    before = [_decisive(space.base), *older]
    found = (_as_written([recipes, *others], space.written), _as_written(before, space.written), before)
    return tuple(sha256(canonical_json(each)) for each in found)


def _decisive(recipe: Recipe) -> JsonObject:
    """Return a recipe as JSON, without options that are newer than a search where they do what was done before."""
    document = recipe.to_json()
    # The defaults of before there were validation samples of the data's own, whose change their hash shows.
    data = {"validation": SHARE_OF_TRAIN, **document["data"]}
    if data.get("validation_of") == Data.model_fields["validation_of"].default:
        del data["validation_of"]
    stages = zip(recipe.stages, document["stages"], strict=True)
    kept = [
        {stage.name: {name: value for name, value in options[stage.name].items() if name in stage.settings()}}
        for stage, options in stages
    ]
    return {**document, "data": data, "stages": kept}


def _as_written(value: Any, written: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_written(each, written) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_written(each, written) for each in value]
    return written.get(value, value) if isinstance(value, str) else value


def must_be_as_before(log: StudyLog, contents: JsonObject, folder: Path) -> int | None:
    """Record the hashes of what a search begins with, or check that one that goes on still has it.

    Its recipe says where data and networks are; that other ones lie there by now is seen by these hashes alone.

    Returns:
        The steps of an epoch, by which its stages are trained; None of a search that is older than this rule.

    Args:
        contents: as :func:`edgekd.search.worker.read_contents` gives them.
        folder: of the search.

    Raises:
        StorageError: the data or a network changed, so the trials are of others.
    """
    known, found = log.last("contents"), {name: each for name, each in contents.items() if name != STEPS}
    # Searches that are older than the record go on with what there is.
    if known is None:
        begun = log.of("price") or log.of("trial")
        known = log.append("contents", hashes=found, **{STEPS: None if begun else contents.get(STEPS)})
    before, steps = known["hashes"], known.get(STEPS)
    if changed := sorted(name for name in before.keys() | found.keys() if before.get(name) != found.get(name)):
        raise StorageError(
            f"{' and '.join(changed)} changed since the search in {folder} began (of a network: its checkpoint or its "
            "code), and its trials are of what was there before: put that back, or begin another search with --out"
        )
    return steps


def _read(path: Path) -> list[JsonObject]:
    if not path.exists():
        return []
    # Of a search with thousands of trials.
    *lines, _ = read_content(path, StorageError, 1 << 28).split(b"\n")
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not (isinstance(entry, Mapping) and isinstance(entry.get(EVENT), str)):
            raise StorageError(f"{path}:{number}: no event of a search; give another --out, or remove that line")
        events.append(dict(entry))
    return events


def _cut_torn_line(file: Any) -> None:
    """Nothing behind the last end of a line was ever acted on."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    file.truncate(end)
