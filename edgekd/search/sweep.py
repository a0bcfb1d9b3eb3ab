"""Every point of a grid of one's own choosing, tried as a search tries its candidates."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from edgekd.errors import RecipeError, StorageError
from edgekd.files import canonical_json, make_folder, write_json, write_text
from edgekd.log import get_logger
from edgekd.recipe.open_fields import OpenChoice
from edgekd.records.candidate_figures import Figures
from edgekd.search.candidates import figures_of, say_outcome
from edgekd.search.folder import CACHE, JOURNAL, SCHEMA_VERSION, SUMMARY, TRIALS, WORKER_LOG, fit_folder
from edgekd.search.jobs import JobRunner, Jobs, run_needed
from edgekd.search.launch import Worker
from edgekd.search.space import ARM, CUTS, Space
from edgekd.search.study_log import StudyLog, must_be_as_before, search_key
from edgekd.stages import STAGES
from edgekd.strict_json import JsonObject

logger = get_logger(__name__)

MOST_POINTS = 1000
GridPoint = dict[str, object]


def grid_overrides(grid: Sequence[str]) -> list[str]:
    """Return ``stages.prune.macs=0.3,0.5`` as the overrides of a recipe that leave these fields open.

    Raises:
        RecipeError: one of them is not written so, or has one value.
    """
    found = []
    for each in grid:
        name, equals, values = each.partition("=")
        if not equals or len(values.split(",")) < 2:
            raise RecipeError(f"--grid {each}: expected KEY=VALUE,VALUE, e.g. --grid stages.prune.macs=0.3,0.5,0.7")
        first, _, rest = name.strip().partition(".")
        key = rest if first == "stages" and rest.partition(".")[0] in STAGES else name.strip()
        found.append(f"{key}={{choice: [{values}]}}")
    return found


def grid_points(space: Space) -> list[GridPoint]:
    """Return each point of ``space``, whose open fields are all choices.

    Raises:
        RecipeError: a field is a range, or there are too many points.
    """
    ranges = [each for each in space.dimensions if not isinstance(each.values, OpenChoice)]
    if ranges:
        raise RecipeError(
            "\n".join(
                f"{each.place}: {each.name}: a sweep takes values, not the range from {each.values}; give them, e.g. "
                f"--grid {each.name}=VALUE,VALUE, or use 'edgekd fit'"
                for each in ranges
            )
        )
    points = list(_points(space))
    if len(points) > MOST_POINTS:
        raise RecipeError(f"{space.path}: the grid has {len(points)} points, at most {MOST_POINTS} are tried")
    return points


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
        must_be_as_before(log, contents["result"], folder)
        spent, tried = log.seconds, {entry["number"] for entry in log.of("trial")}
        left = deque(number for number in range(1, len(points) + 1) if number not in tried)
        while left or jobs.under_way:
            while left and jobs.free:
                number = left.popleft()
                _start(jobs, space, points, number, folder.absolute())
            for number, found in jobs.wait():
                figures = _record(log, points[number - 1], number, found, spent + time.monotonic() - started)
                say_outcome(number, figures, space.base.kind.metrics[0], found)
        failed = sum("error" in entry for entry in log.of("trial"))
        seconds = round(log.seconds, 1)
        summary = {"schema_version": SCHEMA_VERSION, "sweep": True, "candidates": len(points), "failed": failed}
        write_json(folder / SUMMARY, {**summary, "seconds": seconds, "reason": "every point of the grid was tried"})
    return failed


def _begin(log: StudyLog, space: Space, points: Sequence[GridPoint], folder: Path) -> None:
    key = search_key(space.base, [dict(arm.document) for arm in space.arms], list(points))
    known = log.last("begin")
    if known is None:
        arms = [{"name": arm.name, "levels": 1} for arm in space.arms]
        log.append("begin", schema_version=SCHEMA_VERSION, key=key, objective=space.objective, arms=arms)
    elif known.get("key") != key:
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


def _record(log: StudyLog, point: GridPoint, number: int, found: JsonObject, spent: float) -> Figures | None:
    choices = _choices(point)
    cut = next((value for name, value in choices.items() if name.rpartition(".")[2] in CUTS), 1.0)
    outcome = {"figures": found["result"]} if "result" in found else {"error": str(found["error"])}
    entry = log.append(
        "trial", number=number, arm=point[ARM], share=cut if isinstance(cut, float) else 1.0, level=0,
        choices=choices, **outcome, seconds=found["seconds"], spent=round(spent, 2),
    )  # fmt: skip
    return figures_of(entry)


def _choices(point: GridPoint) -> GridPoint:
    return {name: value for name, value in point.items() if name != ARM}
