"""The time of candidates that could win, in turns with their teacher."""

from collections.abc import Sequence
from pathlib import Path

from edgekd.artifact_cache import METRICS
from edgekd.bench import Plan, Workload, measure
from edgekd.bench.quiet_moment import when_quiet
from edgekd.options import Budget
from edgekd.pipeline.candidate import ScoredFile
from edgekd.recipe import Recipe
from edgekd.stages.targets import is_measured_here
from edgekd.strict_json import JsonObject

EXPORTED = f"exports/*-validation-*/{METRICS}"
SECONDS, LAUNCHES = 1.0, 4


def time_files(recipe: Recipe, folders: Sequence[str]) -> JsonObject:
    """Return the latency of each run folder's last network over the teacher's, by folder.

    A network that is placed by measurement is timed in int8 and, where the budget allows that file, in float, and has
    the lower valid one. A mixed placement, which the winner's run may find to be faster still, is not timed.
    Empty where the recipe's first target is not this machine: its files are timed there by the winner's run.
    """
    target = recipe.targets[0]
    if not is_measured_here(target):
        return {}
    files = {folder: _files(Path(folder), recipe.budget) for folder in folders}
    teacher = next(iter(files.values()))[0]
    forms = [(folder, str(form)) for folder, (_, *found) in files.items() for form in found]
    workloads = {name: Workload(name, target.runtime) for name in (str(teacher), *(form for _, form in forms))}
    plan = Plan(workloads, str(teacher), target.threads, 1, SECONDS, 2 * SECONDS, launches=LAUNCHES)
    records = when_quiet(measure, plan)
    fastest: JsonObject = {}
    for folder, form in forms:
        if latency := records[form].latency_vs_reference:
            found = {"ratio": latency.ratio, "valid": records[form].valid}
            known = fastest.get(folder, found)
            fastest[folder] = min(known, found, key=lambda each: (not each["valid"], each["ratio"]))
    return fastest


def _files(folder: Path, budget: Budget) -> list[Path]:
    """The file of the teacher, that of the last network, and its twin in float where placement may choose that."""
    first, *_, deployed = sorted(folder.glob(EXPORTED))
    teacher, last = ScoredFile(first.parent), ScoredFile(deployed.parent)
    twin = last.twin_within(budget, teacher.size_bytes)
    return [teacher.file, last.file, *([twin] if twin else [])]
