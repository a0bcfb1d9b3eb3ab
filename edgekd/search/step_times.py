"""The time of one training step of each kind, from which a search's forecast is made."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.data import DataSet
from edgekd.machine_lock import training
from edgekd.pipeline.plan import plan
from edgekd.pipeline.resolve import resolve_targets
from edgekd.pipeline.threads import threads_given_back
from edgekd.recipe import Recipe
from edgekd.strict_json import JsonObject
from edgekd.tasks.tensors import arguments_of, output_tensors
from edgekd.train.objective import total
from edgekd.train.processors import take_fitting_threads

# The first step allocates and compiles.
STEPS = 3


def step_times(recipe: Recipe) -> JsonObject:
    """Return the seconds of a step of the teacher, and of the student with the teacher; and the numbers of samples.

    Nothing is trained: the networks are thrown away.
    """
    recipe, _ = resolve_targets(recipe)
    planned = plan(recipe)
    data = planned.data
    teacher, student = planned.starts.teachers[0].network(), planned.starts.first.network()
    with training(), threads_given_back():
        take_fitting_threads()
        alone, taught = _seconds(teacher, data, None), _seconds(student, data, teacher.eval())
    return {
        "steps": -(-len(data.train) // data.batch_size),
        "teacher_step": alone,
        "student_step": taught,
        "validation": len(data.validation),
        "test": len(data.test),
    }


def _seconds(network: nn.Module, data: DataSet, teacher: nn.Module | None) -> float:
    labelled = data.labelled_only()
    chosen = torch.arange(len(labelled.train))[: data.batch_size]
    ((raw, stored),) = labelled.train.stream([chosen])
    inputs, targets = arguments_of(data.to_input(raw)), data.task.targets(stored)
    network.train()
    return _last(lambda: _step(network, teacher, inputs, targets, data))


def _step(
    network: nn.Module, teacher: nn.Module | None, inputs: tuple[Tensor, ...], targets: Any, data: DataSet
) -> None:
    if teacher is not None:
        with torch.no_grad():
            teacher(*inputs)
    total(data.task.loss(output_tensors(network(*inputs)), targets)).backward()


def _last(step: Callable[[], None]) -> float:
    """The fastest of the steps after the first."""
    taken = []
    for _ in range(STEPS):
        started = time.monotonic()
        step()
        taken.append(time.monotonic() - started)
    return round(min(taken[1:]), 4)
