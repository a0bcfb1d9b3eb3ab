"""Every point of a grid of one's own choosing, tried as a search tries its candidates."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path

from edgekd.errors import RecipeError, StorageError
from edgekd.files import canonical_json, make_folder, write_json, write_text
from edgekd.log import get_logger
from edgekd.recipe.open_fields import OpenChoice
from edgekd.records.candidate_figures import MACHINE, Figures
from edgekd.search.candidates import figures_of, say_outcome
from edgekd.search.folder import CACHE, JOURNAL, SCHEMA_VERSION, SUMMARY, TRIALS, WORKER_LOG, fit_folder
from edgekd.search.jobs import JobRunner, Jobs, run_needed
from edgekd.search.launch import Worker
from edgekd.search.measured_times import judged_in, machine_of
from edgekd.search.ray_cluster import RayCluster
from edgekd.search.space import ARM, Space
from edgekd.search.study_log import StudyLog, must_be_as_before, search_keys
from edgekd.stages import STAGES
from edgekd.strict_json import JsonObject

logger = get_logger(__name__)

MOST_POINTS = 1000
GridPoint = dict[str, object]


def grid_overrides(grid: Sequence[str]) -> list[str]:
    """Return ``stages.prune.macs=0.3,0.5`` as the overrides of a recipe that leave these fields open.

    Raises:
        RecipeError: one of them is not written so, has one value, or is there twice.
    """
    found: dict[str, str] = {}
    for each in grid:
        name, equals, values = each.partition("=")
        if not equals or len(values.split(",")) < 2:
            raise RecipeError(f"--grid {each}: expected KEY=VALUE,VALUE, e.g. --grid stages.prune.macs=0.3,0.5,0.7")
        first, _, rest = name.strip().partition(".")
        key = rest if first == "stages" and rest.partition(".")[0] in STAGES else name.strip()
        if key in found:
            raise RecipeError(f"--grid {each}: {key} has values already; give all of them at once, {key}=VALUE,VALUE")
        found[key] = f"{key}={{choice: [{values}]}}"
    return list(found.values())


def grid_points(space: Space) -> list[GridPoint]:
    """Return each point of ``space``, whose open fields are all choices.

    Raises:
        RecipeError: a field is a range, or there are too many points.
    """
    # Of all arms: two may have a field of one name, a range in one of them and a choice in the other.
    every = [each for arm in space.arms for each in arm.dimensions]
    ranges = dict.fromkeys(
        f"{each.place}: {each.name}: a sweep takes values, not the range from {each.values}; give them, e.g. "
        f"--grid {each.name}=VALUE,VALUE, or use 'edgekd fit'"
        for each in every
        if not isinstance(each.values, OpenChoice)
    )
    if ranges:
        raise RecipeError("\n".join(ranges))
    # Counted, since a few lines may stand for more points than there is memory.
    count = sum(prod(len(each.values.examples) for each in arm.dimensions) for arm in space.arms)
    if count > MOST_POINTS:
        raise RecipeError(f"{space.path}: the grid has {count} points, at most {MOST_POINTS} are tried")
    return list(_points(space))


def _points(space: Space) -> Iterator[GridPoint]:
    for arm in space.arms:
        for values in product(*(each.values.examples for each in arm.dimensions)):
            yield {ARM: arm.name, **{each.name: value for each, value in zip(arm.dimensions, values, strict=True)}}


def sweep(space: Space, folder: Path, runner: JobRunner | None = None) -> int:
    """Try each point of ``space`` in ``folder``; started again after any end, it goes on. Return how many failed.

    Args:
        runner: does the trainings; a process of this machine where it is left out.

    Raises:
        RecipeError: as :func:`grid_points` does.
        StorageError: the folder holds another search, or the data or a network changed; or the disk refuses.
        EdgekdError: the data or a network cannot be read.
    """
    points, started = grid_points(space), time.monotonic()
    with fit_folder(folder), runner or Worker(folder / WORKER_LOG) as runner, Jobs[int](runner) as jobs:
        log = StudyLog(folder / JOURNAL)
        _begin(log, space, points, folder)
        contents = run_needed(runner, log, "contents", **_first_recipes(space, points, folder.absolute()))
        space = replace(space, steps=must_be_as_before(log, contents["result"], folder))
        # Of a cluster, another machine may time. Points that one timed that it has left are timed here, not trained.
        machine = None if isinstance(runner, RayCluster) else machine_of(judged_in(space.base))
        spent, tried = log.seconds, {entry["number"] for entry in log.of_machine("trial", machine)}
        left = deque(number for number in range(1, len(points) + 1) if number not in tried)
        while left or jobs.under_way:
            while left and jobs.free:
                number = left.popleft()
                _start(jobs, space, points, number, folder.absolute())
            for number, found in jobs.wait():
                about = {MACHINE: machine, "spent": round(spent + time.monotonic() - started, 2)}
                point = points[number - 1]
                figures = _record(log, point, number, found, {**about, "share": _share(space, point)})
                say_outcome(number, figures, space.base.kind.metrics[0], found)
        failed = sum("error" in entry for entry in log.of_machine("trial", machine))
        seconds = round(log.seconds, 1)
        summary = {"schema_version": SCHEMA_VERSION, "sweep": True, "candidates": len(points), "failed": failed}
        write_json(folder / SUMMARY, {**summary, "seconds": seconds, "reason": "every point of the grid was tried"})
    return failed


def _begin(log: StudyLog, space: Space, points: Sequence[GridPoint], folder: Path) -> None:
    documents = [dict(arm.document) for arm in space.arms]
    key, *older = search_keys(space, list(points), [documents, list(points)])
    known = log.last("begin")
    if known is None:
        arms = [{"name": arm.name, "levels": 1} for arm in space.arms]
        log.append("begin", schema_version=SCHEMA_VERSION, key=key, objective=space.objective, arms=arms)
    elif known.get("key") not in (key, *older):
        raise StorageError(f"{folder} holds a search of another recipe or grid: choose another folder with --out")


def _first_recipes(space: Space, points: Sequence[GridPoint], folder: Path) -> JsonObject:
    """Write the recipe of the first point of each network that students start from."""
    students: dict[bytes, int] = {}
    for number, point in enumerate(points, start=1):
        students.setdefault(canonical_json(space.recipe(point).to_json().get("student")), number)
    first, *others = students.values()
    paths = {f"trial {number}": str(_write_recipe(space, points, number, folder)) for number in others}
    return {"recipe": str(_write_recipe(space, points, first, folder)), "others": paths}


def _write_recipe(space: Space, points: Sequence[GridPoint], number: int, folder: Path) -> Path:
    path = folder / TRIALS / f"{number:03d}.yaml"
    make_folder(path.parent)
    write_text(path, space.document(points[number - 1]))
    return path


def _start(jobs: Jobs[int], space: Space, points: Sequence[GridPoint], number: int, folder: Path) -> None:
    point, path = points[number - 1], _write_recipe(space, points, number, folder)
    words = ", ".join(f"{name} {value}" for name, value in _choices(point).items())
    logger.info(f"trial {number} of {len(points)}: {point[ARM]}{f', {words}' if words else ''}")
    target = {"recipe": str(path), "folder": str(path.with_suffix("")), "cache": str(folder / CACHE)}
    jobs.start(number, "try", **target, timed=True, filed=True, teacher_ms=None)


def _record(log: StudyLog, point: GridPoint, number: int, found: JsonObject, about: JsonObject) -> Figures | None:
    outcome = {"figures": found["result"]} if "result" in found else {"error": str(found["error"])}
    entry = log.append(
        "trial", number=number, arm=point[ARM], level=0, choices=_choices(point), **outcome,
        seconds=found["seconds"], **about,
    )  # fmt: skip
    return figures_of(entry)


def _share(space: Space, point: GridPoint) -> float:
    """Return the share that the point's cut keeps, 1 where none is of its grid."""
    cuts = (point[each.name] for each in space.arm(point).dimensions if each.is_share)
    return next((float(cut) for cut in cuts if isinstance(cut, float)), 1.0)


def _choices(point: GridPoint) -> GridPoint:
    return {name: value for name, value in point.items() if name != ARM}
