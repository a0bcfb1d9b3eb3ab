"""Construction of loss terms from the names of their methods."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from edgekd.distill.ensemble import first_teacher, path_in
from edgekd.distill.feature_hooks import feature_shapes, pair_layers
from edgekd.distill.losses import LOSSES
from edgekd.distill.objective import Term
from edgekd.distill.registry import FeatureLoss, LogitLoss
from edgekd.distill.schedule import Schedule
from edgekd.distill.standardize import Standardized
from edgekd.errors import TrainingError
from edgekd.nearest import nearest
from edgekd.tasks.classification import Classification
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.task import Task

# Arguments of losses that no recipe gives.
GIVEN = ("student_shapes", "teacher_shapes", "task")

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class LossSpec:
    """A loss to build.

    Attributes:
        method: an entry of ``LOSSES``.
        weight: at least 0, or a schedule; the method's default if left out.
        options: arguments of the loss by name, such as ``{"beta": 2.0}``.
        standardize: compare logits of mean 0 and deviation 1.
        pairs: paths of (student, teacher) layers that a loss of features compares; found if left out.
    """

    method: str
    weight: float | Schedule | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    standardize: bool = False
    pairs: Pairs | None = None


def build_terms(
    wanted: Sequence[LossSpec],
    student: nn.Module,
    teacher: nn.Module,
    input_shape: Shape | Signature,
    *,
    temperature: float | None = None,
    samples: int = 0,
    task: Task | None = None,
) -> list[Term]:
    """Build the terms of a :class:`~edgekd.distill.Distillation`.

    Args:
        teacher: the teacher. Of an :class:`~edgekd.distill.Ensemble` the first teacher's features are compared, and
            pairs name its layers.
        input_shape: shape of one input, without the batch; or a signature.
        temperature: for the losses that have one, unless their options give another.
        samples: number of samples in the training set.
        task: what the networks are for; telling classes apart if left out.

    Raises:
        EdgekdError: a method, option or layer is not known, or shapes or the task's outputs cannot be compared.
    """
    task = task or Classification(())
    names = [each.method for each in wanted]
    return [
        _term(each, _unique(names, index), student, teacher, input_shape, temperature, samples, task)
        for index, each in enumerate(wanted)
    ]


def _term(
    wanted: LossSpec,
    name: str,
    student: nn.Module,
    teacher: nn.Module,
    input_shape: Shape | Signature,
    temperature: float | None,
    samples: int,
    task: Task,
) -> Term:
    kind = LOSSES.find(wanted.method)
    parameters = inspect.signature(kind).parameters
    known = [name for name in parameters if name not in GIVEN]
    options = dict(wanted.options)
    for option in options:
        if option not in known or option == "samples":
            raise TrainingError(
                f"{wanted.method} has no option {option!r}{nearest(option, known)}; "
                f"it has: {', '.join(known) or 'none'}"
            )
    if temperature is not None and "temperature" in known:
        options.setdefault("temperature", temperature)
    if issubclass(kind, LogitLoss):
        if kind.outputs is not None and task.outputs not in kind.outputs:
            of_features = sorted(name for name, each in LOSSES.items() if issubclass(each, FeatureLoss))
            raise TrainingError(
                f"{wanted.method} compares {' or '.join(sorted(kind.outputs))}, and this network gives {task.outputs}: "
                f"use kd, or a loss of features ({', '.join(of_features)})"
            )
        if wanted.standardize and task.outputs != Classification.outputs:
            raise TrainingError(
                f"logits are standardized over the classes of a sample, and this network gives {task.outputs}: leave "
                "standardize out"
            )
        if wanted.pairs:
            raise TrainingError(f"{wanted.method} compares logits and has no pairs of layers: leave pairs out")
        loss: LogitLoss = kind(**options, **({"task": task} if "task" in parameters else {}))
        loss.check(student, teacher, input_shape)
        weight = 1.0 if wanted.weight is None else wanted.weight
        return Term(name, Standardized(loss) if wanted.standardize else loss, weight)
    if wanted.standardize:
        raise TrainingError(f"{wanted.method} compares features and has no logits to standardize: leave it out")
    assert issubclass(kind, FeatureLoss)
    first = first_teacher(teacher)
    pairs = wanted.pairs or _default_pairs(kind, student, first, input_shape)
    student_paths, teacher_paths = ([pair[side] for pair in pairs] for side in (0, 1))
    student_shapes = feature_shapes(student, student_paths, input_shape)
    teacher_shapes = feature_shapes(first, teacher_paths, input_shape)
    built = kind(student_shapes, teacher_shapes, samples=samples, **options)
    weight = built.weight if wanted.weight is None else wanted.weight
    return Term(name, built, weight, [(path, path_in(teacher, other)) for path, other in pairs])


def _default_pairs(
    kind: type[FeatureLoss], student: nn.Module, teacher: nn.Module, input_shape: Shape | Signature
) -> Pairs:
    found = pair_layers(student, teacher, input_shape)
    chosen = kind.default_layers(feature_shapes(student, [path for path, _ in found], input_shape))
    if not chosen:
        raise TrainingError(
            f"no layers of {type(student).__name__} and {type(teacher).__name__} were found that this method could "
            "compare: name them in pairs, student and teacher"
        )
    return [found[index] for index in chosen]


def _unique(names: Sequence[str], index: int) -> str:
    before = names[:index].count(names[index])
    return names[index] if not before else f"{names[index]} {before + 1}"
