"""The time of candidates that could win, in turns with their teacher."""

import json
from collections.abc import Sequence
from pathlib import Path

from edgekd.artifact_cache import METRICS
from edgekd.bench import Plan, Workload, measure
from edgekd.bench.quiet_moment import when_quiet
from edgekd.recipe import Recipe
from edgekd.stages.targets import is_measured_here
from edgekd.strict_json import JsonObject

TEACHER = "teacher"
SECONDS, LAUNCHES = 1.0, 4


def time_files(recipe: Recipe, folders: Sequence[str]) -> JsonObject:
    """Return the latency of each run folder's last network over the teacher's, by folder.

    Empty where the recipe's first target is not this machine: its files are timed there by the winner's run.
    """
    target = recipe.targets[0]
    if not is_measured_here(target):
        return {}
    files = {folder: _files(Path(folder)) for folder in folders}
    teacher = next(iter(files.values()))[0]
    workloads = {TEACHER: Workload(str(teacher), target.runtime)}
    workloads |= {folder: Workload(str(found[-1]), target.runtime) for folder, found in files.items()}
    plan = Plan(workloads, TEACHER, target.threads, 1, SECONDS, 2 * SECONDS, launches=LAUNCHES)
    records = when_quiet(measure, plan)
    return {
        folder: {"ratio": record.latency_vs_reference.ratio, "valid": record.valid}
        for folder, record in records.items()
        if folder != TEACHER and record.latency_vs_reference
    }


def _files(folder: Path) -> list[Path]:
    """The file of the teacher first."""
    found = sorted(folder.glob(f"exports/*-validation-*/{METRICS}"))
    return [path.parent / str(json.loads(path.read_text())["file"]) for path in found]
