"""The teacher kept on in the recovery after a cut, against labels alone: one start, one cut, several seeds."""

from pathlib import Path
from typing import Any

import torch
from common import say
from paired import gain
from task_runs import Finished

from edgekd.artifact import WEIGHTS
from edgekd.data import DataSet, load_data
from edgekd.pipeline.log import RunLog
from edgekd.pipeline.node import NodeCache
from edgekd.pipeline.plan import resolve_training
from edgekd.pipeline.runner import StageRunner
from edgekd.pipeline.stage_result import StageResult
from edgekd.pipeline.start import starts_of
from edgekd.recipe import Prune, Recipe, Student, Teacher
from edgekd.records.rows import teacher_of
from edgekd.stages.network import restore
from edgekd.tasks.metric import Evidence
from edgekd.train import predictions_of
from edgekd.train.evaluate import evidence_of

WITH, WITHOUT = "teacher", "labels"


def teacher_kept(done: Finished, work: Path, seeds: int, one_in: int = 1) -> dict[str, Any]:
    """Cut the network of a finished run as its recipe does, and train what is left both ways with each seed.

    One in ``one_in`` of the recipe's epochs is trained.

    The teacher and the network that is cut are those of the run; only the order of samples and their augmentation
    differ between seeds. Networks are judged in PyTorch on the test samples.
    """
    recipe = from_checkpoints(done)
    [prune] = recipe.stages
    prune = prune.model_copy(update={"epochs": prune.epochs // one_in})
    recipe = recipe.model_copy(update={"stages": (prune,)})
    data = load_data(recipe.data, recipe.seed, recipe.kind, recipe.decoding)
    found: dict[str, list[Evidence]] = {WITH: [], WITHOUT: []}
    for seed in range(seeds):
        for way, kept in found.items():
            kept.append(_recovered(recipe, data, work, seed, way))
            say(f"{done.name}, seed {seed}, {way}: {done.metric.shown(kept[-1].value())}")
    return {
        "teacher_itself": done.rows[teacher_of(done.report)][done.metric.name],
        **{"epochs": prune.epochs, "seeds": seeds, "n": len(data.test)},
        **{way: [each.value() for each in kept] for way, kept in found.items()},
        "gain": gain(done.metric, found[WITH], found[WITHOUT]),
    }


def from_checkpoints(done: Finished) -> Recipe:
    """Return the run's recipe with its cut as the only stage, and with the networks before it as checkpoints."""
    recipe = done.recipe
    place = next(number for number, stage in enumerate(recipe.stages) if isinstance(stage, Prune))
    teacher = Teacher(model=recipe.teacher.model, args=recipe.teacher.args, checkpoint=done.stage(0) / WEIGHTS)
    student = None
    if recipe.student:
        named = recipe.student
        student = Student(model=named.model, args=named.args, checkpoint=done.stage(place) / WEIGHTS)
    # Equal widths in all trainings: what is timed may differ from one cut to the next.
    cut = recipe.stages[place].model_copy(update={"check_latency": False})
    return recipe.model_copy(update={"teacher": teacher, "student": student, "stages": (cut,)})


def _recovered(recipe: Recipe, data: DataSet, work: Path, seed: int, way: str) -> Evidence:
    [cut] = recipe.stages
    stages = (cut.model_copy(update={"teacher": way == WITH}),)
    return evidence_in_pytorch(trained(recipe.model_copy(update={"seed": seed, "stages": stages}), data, work), data)


def trained(recipe: Recipe, data: DataSet, work: Path) -> StageResult:
    """Run the stages of a recipe, and return the last one, or the teacher where there is none.

    What stages leave to the data and the task is filled in as a run does. Finished stages are found again below
    ``work``.
    """
    recipe = resolve_training(recipe, data)
    log = RunLog(work / "log.jsonl", recipe.written)
    return StageRunner(recipe, data, starts_of(recipe, data), NodeCache(work), log).run()[1][-1]


def evidence_in_pytorch(done: StageResult, data: DataSet) -> Evidence:
    """Return the evidence for the task's first metric, of a stage's network on the test samples."""
    network = restore(done.artifact).eval()
    return evidence_of(torch.as_tensor(predictions_of(network, data, data.test)), data, data.test)
