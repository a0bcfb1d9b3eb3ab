"""The time of candidates that could win, in turns with their teacher."""

from collections.abc import Sequence
from pathlib import Path

from edgekd.bench import LatencyRecord, Plan, Workload
from edgekd.bench.quiet_moment import when_quiet
from edgekd.devices.targets import resolve_target
from edgekd.options import Budget
from edgekd.pipeline.candidate import EXPORTED, ScoredFile
from edgekd.pipeline.resolve import resolve_targets
from edgekd.pipeline.target_plan import judged_target, plan_targets
from edgekd.recipe import Recipe
from edgekd.stages.targets import is_measured_here
from edgekd.strict_json import JsonObject

SECONDS, LAUNCHES = 1.0, 4


def time_files(recipe: Recipe, folders: Sequence[str]) -> JsonObject:
    """Return by folder the latency of each run folder's last network, in milliseconds and over the teacher's.

    Also its energy over the teacher's, None where the target has no sensor of it.

    A network that is placed by measurement is timed in int8 and, where the budget allows that file, in float, and has
    the lower valid one. A mixed placement, which the winner's run may find to be faster still, is not timed.
    Empty where no target is measured, here or on a registered device: nothing of the budget is timed then.

    Raises:
        EdgekdError: the target's device cannot be reached, or what runs there has no times.
    """
    recipe, probed = resolve_targets(recipe)
    target = judged_target(plan_targets(recipe, probed))
    if not is_measured_here(target) and target.device not in probed:
        return {}
    files = {folder: _files(Path(folder), recipe.budget) for folder in folders}
    teacher = next(iter(files.values()))[0]
    forms = [(folder, str(form)) for folder, (_, *found) in files.items() for form in found]
    workloads = {name: Workload(name, target.runtime) for name in (str(teacher), *(form for _, form in forms))}
    plan = Plan(workloads, str(teacher), target.threads, 1, SECONDS, 2 * SECONDS, launches=LAUNCHES)
    with resolve_target(target.device) as place:
        records = when_quiet(place.latency, plan)
    fastest: JsonObject = {}
    for folder, form in forms:
        if latency := records[form].latency_vs_reference:
            own = records[form].cost_ms or records[form].latency_ms
            energy = _energy_ratio(records[form], records[str(teacher)])
            found = {"ratio": latency.ratio, "ms": own.p50, "valid": records[form].valid, "energy": energy}
            known = fastest.get(folder, found)
            fastest[folder] = min(known, found, key=lambda each: (not each["valid"], each["ratio"]))
    return fastest


def _energy_ratio(own: LatencyRecord, teacher: LatencyRecord) -> float | None:
    return own.energy.joules / teacher.energy.joules if own.energy and teacher.energy else None


def _files(folder: Path, budget: Budget) -> list[Path]:
    """Return the file of the teacher, of the last network, and its float twin where placement may choose that."""
    first, *_, deployed = sorted(folder.glob(EXPORTED))
    teacher, last = ScoredFile(first.parent), ScoredFile(deployed.parent)
    twin = last.twin_within(budget, teacher.size_bytes)
    return [teacher.file, last.file, *([twin] if twin else [])]
