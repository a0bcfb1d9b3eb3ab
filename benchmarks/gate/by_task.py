"""Rates at which the gate fails unchanged networks, and finds planted faults, for each task.

    python benchmarks/gate/by_task.py --json benchmarks/results/gate/by_task.json

Test sets and networks are drawn, see ``drawn_*.py``. The baseline and an unchanged network are one network whose
outputs were rounded in two ways, as int8, another kernel or another processor rounds them; a faulty one has something
planted as well. The gate's own judge compares all of the task's metrics, by the usual policy. With ``--out`` what is
finished is kept there, and a run that was killed goes on.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import drawn_detection
import drawn_keypoints
import drawn_regression
import drawn_segmentation
from common import finish, goal, options, say
from drawn import Arrays, Simulation, TestSet

from edgekd.files import write_json
from edgekd.formatting import exceeds
from edgekd.gate.policy import Policy
from edgekd.gate.quality import quality
from edgekd.gate.question import Question
from edgekd.gate.row import GateRow
from edgekd.tasks.metric import Evidence, evidence_for
from edgekd.tasks.task import Task

SIMULATIONS = (
    drawn_regression.SIMULATION,
    drawn_keypoints.SIMULATION,
    drawn_segmentation.SIMULATION,
    drawn_detection.SIMULATION,
)
NETWORKS, FAULTY = 300, 100
POLICY = Policy()


def failed(task: Task, targets: Arrays, baseline: Mapping[str, Evidence], predictions: Any) -> str | None:
    """Return the first metric by which the gate fails ``predictions``, or None.

    The last metric comes first: the first one takes longest.

    Args:
        baseline: the evidence of each metric.
    """
    for metric in reversed(task.metrics):
        before, after = baseline[metric.name], metric.evidence(predictions, targets)
        values, rule = (before.value(), after.value()), POLICY.rules[metric.name]
        # What is surely lost is no more than what is lost on these samples, and takes two thousand draws.
        if not exceeds(metric.drop(*values), rule.allows(values[0])):
            continue
        rows = [
            GateRow(metrics={metric.name: value}, kept={metric.name: evidence})
            for value, evidence in zip(values, (before, after), strict=True)
        ]
        question = Question("here", metric.name, rule, POLICY.confidence, *rows)
        if quality(question, metric).level == "fail":
            return metric.name
    return None


def rates(simulation: Simulation, samples: int, networks: int, faulty: int) -> dict[str, Any]:
    """Return how many networks of each kind fail on so many samples, and by which metric."""
    random = np.random.default_rng(samples)
    task, predictions = simulation.task, simulation.predictions
    unchanged: Counter[str] = Counter()
    planted = {fault: Counter[str]() for fault in simulation.faults}
    for number in range(max(networks, faulty)):
        drawn = simulation.draw(random, samples)
        first, second = (simulation.rounded(drawn.network, random) for _ in range(2))
        before = predictions(first)
        baseline = evidence_for(task.metrics, before, drawn.targets)
        if number < networks:
            _count(unchanged, failed(task, drawn.targets, baseline, predictions(second)))
        for fault, plant in simulation.faults.items() if number < faulty else ():
            worse = plant(TestSet(drawn.targets, second), random)
            _count(planted[fault], failed(task, drawn.targets, baseline, predictions(worse)))
    return {
        "task": task.name,
        "samples": samples,
        "networks": networks,
        "failed": _told(unchanged),
        "faulty": faulty,
        "caught": {fault: _told(found) for fault, found in planted.items()},
    }


def _count(found: Counter[str], metric: str | None) -> None:
    if metric is not None:
        found[metric] += 1


def _told(found: Counter[str]) -> dict[str, Any]:
    return {"count": found.total(), "by": dict(found)}


def goals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        where = f"{row['task']}, {row['samples']} samples"
        share = row["failed"]["count"] / row["networks"]
        found.append(goal(f"{where}: unchanged networks that fail", 0.01, share, at_most=True))
        found += [
            goal(f"{where}: {fault}", 0.95, caught["count"] / row["faulty"]) for fault, caught in row["caught"].items()
        ]
    return found


def main() -> None:
    names = [each.task.name for each in SIMULATIONS]
    arguments = options(__doc__, only={"nargs": "+", "choices": names, "default": names, "help": "these tasks"})
    counts = (20, 10) if arguments.quick else (NETWORKS, FAULTY)
    rows = []
    for simulation in SIMULATIONS:
        for samples in simulation.sizes if simulation.task.name in arguments.only else ():
            kept = arguments.out and arguments.out / f"{simulation.task.name}-{samples}-{counts[0]}.json"
            if kept is None or not kept.is_file():
                found = rates(simulation, samples, *counts)
                if kept:
                    write_json(kept, found)
            rows.append(json.loads(kept.read_text()) if kept else found)
            say(json.dumps(rows[-1]))
    finish(arguments, {"rows": rows, "confidence": POLICY.confidence}, goals(rows))


if __name__ == "__main__":
    main()
