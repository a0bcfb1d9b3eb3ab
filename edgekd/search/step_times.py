"""The time of one training step of each kind, from which a search's forecast is made."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from edgekd.data import DataSet
from edgekd.pipeline.plan import plan
from edgekd.pipeline.resolve import resolve_targets
from edgekd.pipeline.start import starts_of
from edgekd.pipeline.threads import threads_given_back
from edgekd.recipe import Recipe
from edgekd.strict_json import JsonObject
from edgekd.tasks.signature import call
from edgekd.tasks.task import Task
from edgekd.train.loop import FitOptions, fit
from edgekd.train.objective import Batch, Objective, TaskLoss
from edgekd.train.options import Train
from edgekd.train.processors import take_fitting_threads

# The first step allocates and compiles.
STEPS = 3
# So small that no weight changes, and no loss diverges.
LR = 1e-12


def step_times(recipe: Recipe, others: Mapping[str, Recipe], data: DataSet | None = None) -> JsonObject:
    """Return the seconds of a step of each teacher, of each student with all teachers, and of the teachers in it.

    The numbers of samples and of steps are there too, and whether samples are augmented.

    Nothing is trained: the networks are thrown away.

    Args:
        others: recipes by name that differ from ``recipe`` in their students, which are timed too.
        data: the recipe's, where it is loaded already.
    """
    recipe, _ = resolve_targets(recipe)
    planned = plan(recipe, data)
    data, teachers = planned.data.labelled_only(), [each.network() for each in planned.starts.teachers]
    firsts = {name: starts_of(other, data).first for name, other in others.items()}
    with threads_given_back():
        take_fitting_threads()
        alone, *others_alone = (_seconds(each, data, TaskLoss(data.task)) for each in teachers)
        taught = _Taught(data.task, teachers)
        student = _seconds(planned.starts.first.network(), data, taught)
        further = {name: _seconds(start.network(), data, taught) for name, start in firsts.items()}
    return {
        "steps": -(-len(planned.data.train) // data.batch_size),
        "teacher_step": alone,
        "other_teacher_steps": others_alone,
        "teacher_forward": round(min(taught.forwards), 4),
        "student_step": student,
        "student_steps": further,
        "augmented": bool(data.augment),
        "batch": data.batch_size,
        "validation": len(data.validation),
        "test": len(data.test),
    }


class _Taught(TaskLoss):
    """Return the loss against targets, after the teachers' outputs, whose seconds are kept in :attr:`forwards`."""

    def __init__(self, task: Task, teachers: Sequence[nn.Module]):
        super().__init__(task)
        self.teachers = [each.eval() for each in teachers]
        self.forwards: list[float] = []

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        began = _now()
        with torch.no_grad():
            for each in self.teachers:
                call(each, batch.inputs)
        self.forwards.append(_now() - began)
        return super().terms(network, batch)


class _EnoughError(Exception):
    pass


def _seconds(network: nn.Module, data: DataSet, objective: Objective) -> float:
    """Return the fastest step after the first, of the loop that trains and so in its precision and its layout."""
    began: list[float] = []
    ended: list[float] = []

    def before_step(step: int, _: int) -> None:
        began.append(_now())
        if len(ended) < step:
            ended.append(began[-1])
        if step == STEPS:
            raise _EnoughError

    def to_eval(network: nn.Module) -> None:
        # The validation comes after the step, each time where an epoch is one step.
        ended.append(_now())
        network.eval()

    options = FitOptions(name="forecast", before_step=before_step, to_eval=to_eval)
    with suppress(_EnoughError):
        fit(network, data, Train(epochs=STEPS + 1, lr=LR), objective, options)
    return round(min(end - start for start, end in zip(began[1:-1], ended[1:], strict=True)), 4)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()
