"""Ensembles: several teachers whose predictions are combined.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 1, take the arithmetic or the
geometric mean of the predictive distributions of an ensemble as the soft targets.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, get_args

import torch
from torch import Tensor, nn

from edgekd.distill.combination import COMBINATIONS, Space
from edgekd.errors import TrainingError
from edgekd.nearest import nearest
from edgekd.precision import full
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.tensors import output_tensors


class EnsembleOptions(TypedDict):
    """Arguments of :class:`Ensemble`, without the teachers."""

    weights: list[float] | None
    choose: str
    space: Space


class Ensemble(nn.Module):
    """Networks for the same inputs and classes, whose logits (N, classes, ...) are combined.

    Of networks with several outputs by name, each is combined by itself.

    It stays in evaluation mode, and no gradient reaches the teachers or passes through them.

    Args:
        teachers: networks that take the same inputs; their parameters are frozen.
        weights: the weight of each teacher in the mean, at least 0, with any positive sum; equal if left out.
        choose: ``mean``, or ``confidence``: for each sample the one teacher whose most likely class has the highest
            probability, the first of equals.
        space: ``probabilities`` averages the distributions and returns the logarithms, of which a softmax is the
            arithmetic mean again. ``logits`` averages the logits (the geometric mean, up to its normalisation). With
            ``confidence`` the chosen teacher's log-probabilities or logits are returned.

    Raises:
        TrainingError: no teachers, or invalid options; when called, outputs of different shapes.
    """

    def __init__(
        self,
        teachers: Sequence[nn.Module],
        weights: Sequence[float] | None = None,
        choose: str = "mean",
        space: Space = "probabilities",
    ):
        super().__init__()
        if not teachers:
            raise TrainingError("an ensemble without teachers has no outputs: give it at least one network")
        _check_option("choose", choose, tuple(COMBINATIONS))
        _check_option("space", space, get_args(Space))
        if weights is not None and not COMBINATIONS[choose].weighted:
            raise TrainingError(f"weights are of a mean, and {choose} chooses one teacher: leave weights out")
        self.teachers = nn.ModuleList(teachers).requires_grad_(False)
        self.choose, self.space = choose, space
        self.weights = _shares([1.0] * len(teachers) if weights is None else weights, len(teachers))
        self.eval()

    @property
    def options(self) -> EnsembleOptions:
        """Return the arguments that make the same ensemble of the same teachers."""
        weights = self.weights if COMBINATIONS[self.choose].weighted else None
        return {"weights": weights, "choose": self.choose, "space": self.space}

    @property
    def rule(self) -> str:
        """Return the rule of combination as JSON, which a hash of the teachers' weights does not cover."""
        return json.dumps([self.choose, self.space, self.weights])

    def train(self, mode: bool = True) -> "Ensemble":
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the combined logits (N, classes, ...) in float32 at least, or several outputs by name."""
        found = [self._outputs(index, teacher(*inputs)) for index, teacher in enumerate(self.teachers)]
        combined = {name: self._combined(name, found) for name in found[0]}
        return combined[LOGITS] if list(combined) == [LOGITS] else combined

    def _outputs(self, index: int, given: Any) -> dict[str, Tensor]:
        if not isinstance(given, (Tensor, Mapping)):
            raise TrainingError(
                f"{self._name(index)} gives a {type(given).__name__}: wrap it so that it gives logits (N, classes)"
            )
        found = output_tensors(given)
        return {LOGITS: found[LOGITS]} if LOGITS in found else found

    def _combined(self, name: str, found: Sequence[Mapping[str, Tensor]]) -> Tensor:
        for index, outputs in enumerate(found):
            if name not in outputs or outputs[name].ndim < 2:
                given = tuple(outputs[name].shape) if name in outputs else ", ".join(outputs)
                raise TrainingError(f"{self._name(index)} gives {given}: wrap it so that it gives logits (N, classes)")
            if outputs[name].shape != found[0][name].shape:
                raise TrainingError(
                    f"{self._name(0)} gives {found[0][name].shape[1]} classes and {self._name(index)} "
                    f"{outputs[name].shape[1]}: teachers of one ensemble are trained on the same classes"
                )
        logits = torch.stack([full(outputs[name]) for outputs in found])
        return COMBINATIONS.find(self.choose).combine(logits, logits.new_tensor(self.weights), self.space)

    def _name(self, index: int) -> str:
        return f"teacher {index} ({type(self.teachers[index]).__name__})"


def first_teacher(teacher: nn.Module) -> nn.Module:
    """Return the first teacher of an ensemble, or ``teacher`` itself."""
    return teacher.teachers[0] if isinstance(teacher, Ensemble) else teacher


def path_in(teacher: nn.Module, path: str) -> str:
    """Return the path in ``teacher`` of the layer ``path`` of :func:`first_teacher` it."""
    return f"teachers.0.{path}" if isinstance(teacher, Ensemble) else path


def _shares(weights: Sequence[float], teachers: int) -> list[float]:
    if len(weights) != teachers:
        raise TrainingError(f"{len(weights)} weights for {teachers} teachers: give one for each of them")
    if not all(0 <= weight < math.inf for weight in weights) or not sum(weights):
        raise TrainingError(
            f"weights {list(weights)} cannot be shares of a mean: give numbers of at least 0, and one of them above"
        )
    # Plain numbers, since they go into JSON.
    return [float(weight) / float(sum(weights)) for weight in weights]


def _check_option(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise TrainingError(f"{name} cannot be {value!r}{nearest(str(value), known)}: it is {' or '.join(known)}")
