"""Losses from their names."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from edgekd.distill.ensemble import first_of, path_in
from edgekd.distill.objective import Term
from edgekd.distill.registry import LOSSES, FeatureLoss, LogitLoss
from edgekd.distill.schedule import Schedule
from edgekd.distill.standardize import Standardized
from edgekd.distill.taps import pair, shapes
from edgekd.errors import TrainingError
from edgekd.registry import nearest

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Wanted:
    """A loss to be built; left out, ``weight`` is the method's usual one, and ``pairs`` are found."""

    method: str
    weight: float | Schedule | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    standardize: bool = False
    pairs: Pairs | None = None


def build_terms(
    wanted: Sequence[Wanted],
    student: nn.Module,
    teacher: nn.Module,
    input_shape: tuple[int, ...],
    *,
    temperature: float | None = None,
    samples: int = 0,
) -> list[Term]:
    """The terms of a :class:`~edgekd.distill.Distillation`.

    Args:
        teacher: of an :class:`~edgekd.distill.Ensemble` the first one's features are compared; pairs name its layers.
        input_shape: one input without its batch.
        temperature: of the losses that have one and are not given another by their options.
        samples: how many the training set has.

    Raises:
        TrainingError: a method, option or layer is not known, or shapes cannot be compared.
    """
    names = [each.method for each in wanted]
    return [
        _term(each, _unique(names, index), student, teacher, input_shape, temperature, samples)
        for index, each in enumerate(wanted)
    ]


def _term(
    wanted: Wanted,
    name: str,
    student: nn.Module,
    teacher: nn.Module,
    input_shape: tuple[int, ...],
    temperature: float | None,
    samples: int,
) -> Term:
    kind = LOSSES.find(wanted.method)
    known = [name for name in inspect.signature(kind).parameters if name not in ("student_shapes", "teacher_shapes")]
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
        if wanted.pairs:
            raise TrainingError(f"{wanted.method} compares logits and has no pairs of layers: leave pairs out")
        loss: LogitLoss = kind(**options)
        weight = 1.0 if wanted.weight is None else wanted.weight
        return Term(name, Standardized(loss) if wanted.standardize else loss, weight)
    if wanted.standardize:
        raise TrainingError(f"{wanted.method} compares features and has no logits to standardize: leave it out")
    assert issubclass(kind, FeatureLoss)
    first = first_of(teacher)
    pairs = wanted.pairs or _usual(kind, student, first, input_shape)
    ours, theirs = ([each[side] for each in pairs] for side in (0, 1))
    built = kind(shapes(student, ours, input_shape), shapes(first, theirs, input_shape), samples=samples, **options)
    weight = built.weight if wanted.weight is None else wanted.weight
    return Term(name, built, weight, [(ours, path_in(teacher, theirs)) for ours, theirs in pairs])


def _usual(kind: type[FeatureLoss], student: nn.Module, teacher: nn.Module, input_shape: tuple[int, ...]) -> Pairs:
    found = pair(student, teacher, input_shape)
    places = kind.usual(shapes(student, [ours for ours, _ in found], input_shape))
    if not places:
        raise TrainingError(
            f"no layers of {type(student).__name__} and {type(teacher).__name__} were found that this method could "
            "compare: name them in pairs, student and teacher"
        )
    return [found[place] for place in places]


def _unique(names: Sequence[str], index: int) -> str:
    before = names[:index].count(names[index])
    return names[index] if not before else f"{names[index]} {before + 1}"
