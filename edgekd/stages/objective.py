"""The objective of a stage, from its section of the recipe."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from edgekd.distill import Distillation, Schedule
from edgekd.distill.build import LossSpec, build_terms
from edgekd.distill.cache import TeacherCache
from edgekd.distill.fusion import fuse_teacher
from edgekd.distill.objective import Term
from edgekd.log import get_logger
from edgekd.stages.distill.options import Distill, Loss
from edgekd.stages.stage import Stage
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.task import Task

logger = get_logger(__name__)
LossT = TypeVar("LossT", bound=Loss)


def terms_of(
    section: Stage,
    student: nn.Module,
    teacher: nn.Module,
    input_shape: Shape | Signature,
    samples: int,
    task: Task | None = None,
) -> list[Term]:
    """Return the losses between both networks; of all stages but ``distill`` the teacher's probabilities alone.

    Raises:
        TrainingError: a method, an option or a layer is not known, or shapes cannot be compared.
    """
    wanted = [LossSpec("kd")]
    if isinstance(section, Distill):
        wanted = [
            LossSpec(
                each.method,
                _schedule(each.weight_schedule) or each.weight,
                each.options,
                each.standardize,
                each.pairs,
            )
            for each in (section, *section.also)
        ]
    return build_terms(
        wanted, student, teacher, input_shape, temperature=section.temperature, samples=samples, task=task
    )


def running_teacher(
    section: Stage,
    teacher: nn.Module,
    terms: list[Term],
    input_shape: Shape | Signature,
    in_int8: Callable[[], nn.Module | None] = lambda: None,
) -> nn.Module:
    """Return the teacher as the stage runs it: fused or in int8 where it says so and no loss compares its layers.

    Args:
        in_int8: gives it in int8, or None where it must stay in float.
    """
    if not (section.fuse_teacher or section.quantize_teacher):
        return teacher
    if any(term.pairs for term in terms):
        logger.info("the teacher is not fused: a loss compares features of its layers")
        return teacher
    found = in_int8() if section.quantize_teacher else None
    return fuse_teacher(teacher, input_shape) if found is None else found


def between_generations(section: Distill) -> Distill:
    """Return ``section`` for a teacher of the student's own structure: its layers are compared with themselves."""
    first = _with_own_layers(section)
    return first.model_copy(update={"also": tuple(map(_with_own_layers, section.also))})


def distillation(
    section: Stage, teacher: nn.Module | TeacherCache, terms: list[Term], task: Task | None = None
) -> Distillation:
    if not isinstance(section, Distill):
        return Distillation(teacher, terms, section.hard_weight, section.label_smoothing, task=task)
    hard_weight = _schedule(section.hard_weight_schedule) or section.hard_weight
    temperature = _schedule(section.temperature_schedule)
    return Distillation(
        teacher,
        terms,
        hard_weight,
        section.label_smoothing,
        temperature=temperature,
        balance=section.balance,
        task=task,
    )


def _with_own_layers(loss: LossT) -> LossT:
    pairs = loss.pairs and tuple((ours, ours) for ours, _ in loss.pairs)
    return loss.model_copy(update={"pairs": pairs})


def _schedule(section: Any) -> Schedule | None:
    return Schedule(**section.model_dump()) if section else None
