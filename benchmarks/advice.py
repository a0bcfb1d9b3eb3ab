"""Four runs that miss their budgets, and the same runs again by the first advice that each report gives.

    python benchmarks/advice.py --json benchmarks/results/advice.json

Handwritten digits of 16x16 pixels, a ResNet-8 and a narrower one, distilled, pruned and in int8. A run without bounds
comes first, and the budgets follow from its figures, so that the cases are the same on every processor. Then accuracy,
latency, size, or all three miss. The command that the report gives is followed once. All runs share one folder, where
finished stages are found again. Latencies are measured for half a second each: the layers' times are left out.
"""

import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from common import finish, goal, options, say
from rich.console import Console
from rich.table import Table

from edgekd.files import make_folder, temporary_folder, write_text
from edgekd.pipeline import measure
from edgekd.pipeline.run import run
from edgekd.recipe import load_recipe
from edgekd.report.advice import next_steps
from edgekd.report.costs import costs_of
from edgekd.report.schema import Report

RECIPE = """\
name: advice
data: {{source: digits, image_size: 16, grayscale: true, batch_size: 32{limit}}}
teacher: {{model: resnet8, args: {{width: 48}}, train: {{epochs: {teacher}, lr: 0.05}}}}
student: {{model: resnet8, args: {{width: 24}}}}
stages:
  - distill: {{epochs: {distill}}}
  - prune: {{macs: 0.8, epochs: 3}}
  - quantize: {{epochs: 1, placement: int8}}
"""
FULL = {"limit": "", "teacher": 8, "distill": 8}
QUICK = {"limit": ", train_limit: 300, test_limit: 150", "teacher": 3, "distill": 3}
# Points that a run may lose beyond the one without bounds: three or four test samples.
ROOM, QUICK_ROOM = 1.0, 2.0
SECONDS, LAUNCHES = 0.5, 3
ENOUGH = 3
Settings = Mapping[str, float]


def cases(reference: Report, room: float) -> dict[str, tuple[Settings, Settings]]:
    """For each case the settings of its recipe and its budget, by the figures of a run without bounds."""
    costs = costs_of(reference)
    assert costs is not None and costs.final.time and costs.final.size
    time, size, drop = costs.final.time, costs.final.size, max(costs.final.lost, 0.0) + room
    hurried = {"prune.macs": 0.15, "prune.epochs": 1}
    return {
        "accuracy": (hurried, {"accuracy_drop": drop, "latency_ratio": 1.2 * time, "size_ratio": 1.2 * size}),
        "latency": ({}, {"accuracy_drop": drop, "latency_ratio": 0.85 * time}),
        "size": ({}, {"accuracy_drop": drop, "size_ratio": 0.6 * size}),
        "all": (
            {"distill.epochs": 1, "prune.epochs": 1},
            {"accuracy_drop": drop, "latency_ratio": 0.9 * time, "size_ratio": 0.7 * size},
        ),
    }


def followed(name: str, recipe: Path, settings: Settings, budget: Settings, folder: Path) -> dict[str, Any]:
    """Run a case and then the command that its report gives, and return what both measured."""
    given = {**settings, **{f"budget.{key}": round(bound, 4) for key, bound in budget.items()}}
    words = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    first = ran(["edgekd", "run", recipe.name, *words], recipe, folder)
    steps = next_steps(first)
    found = {"case": name, "first": checks(first), "advice": [str(each) for each in steps.advice] if steps else []}
    if steps is None or steps.command is None:  # nothing to advise, or by hand alone
        return {**found, "command": None, "then": []}
    say(f"{name}: {steps.command}")
    return {**found, "command": steps.command, "then": checks(ran(shlex.split(steps.command), recipe, folder))}


def ran(words: list[str], recipe: Path, folder: Path) -> Report:
    """Run what the command ``words`` would."""
    settings = [setting for word, setting in pairwise(words) if word == "--set"]
    return run(load_recipe(recipe, settings), folder, command=shlex.join(words))


def checks(report: Report) -> list[dict[str, Any]]:
    assert report.budget is not None
    return [each.to_json() for each in report.budget.checks]


def is_met(found: list[dict[str, Any]]) -> bool:
    return bool(found) and all(each["met"] for each in found)


def main() -> None:
    arguments = options(__doc__)
    measure.SECONDS, measure.LAUNCHES = SECONDS, LAUNCHES
    measure.ends = lambda labels: []
    with temporary_folder() as temporary:
        work = make_folder(arguments.out or temporary)
        recipe = work / "advice.yaml"
        write_text(recipe, RECIPE.format(**(QUICK if arguments.quick else FULL)))
        reference = ran(["edgekd", "run", recipe.name], recipe, work / "run")
        found = [
            followed(name, recipe, *each, work / "run")
            for name, each in cases(reference, QUICK_ROOM if arguments.quick else ROOM).items()
        ]
    table = Table("Missed by", "Check", "Bound", "First", "After the advice", "Met")
    for each in found:
        for before, after in zip(each["first"], each["then"] or each["first"], strict=True):
            figures = (f"{before['bound']:.3g}", f"{before.get('value', 0):.3g}", f"{after.get('value', 0):.3g}")
            table.add_row(each["case"], before["name"], *figures, "yes" if after["met"] else "NO")
    Console().print(table)
    missed = [each for each in found if not is_met(each["first"])]
    goals = [
        goal("runs that miss at first", len(found), len(missed)),
        goal("of these, met by the first advice", ENOUGH, sum(is_met(each["then"]) for each in missed)),
    ]
    finish(arguments, {"cases": found}, goals)


if __name__ == "__main__":
    main()
