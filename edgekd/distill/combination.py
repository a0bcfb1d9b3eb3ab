"""Ways to combine the predictions of several teachers, by their names in recipes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgekd.errors import TrainingError
from edgekd.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Space = Literal["probabilities", "logits"]
# From the logits of all teachers (teachers, N, classes, ...) and their weights (teachers,), which add up to 1, to
# logits (N, classes, ...). In the space of probabilities these are logarithms of probabilities.
Combine = Callable[["Tensor", "Tensor", Space], "Tensor"]


@dataclass(frozen=True)
class Combination:
    """An entry of :data:`COMBINATIONS`.

    Attributes:
        weighted: whether the teachers' weights matter.
        of_classes: whether it asks for the most likely class, which independent labels do not have.
    """

    combine: Combine
    weighted: bool
    of_classes: bool


COMBINATIONS: Registry[Combination] = Registry("combination of teachers", TrainingError)


def combination(name: str, *, weighted: bool = False, of_classes: bool = False) -> Callable[[Combine], Combine]:
    """Register a function that combines logits as ``name``."""

    def register(combine: Combine) -> Combine:
        COMBINATIONS[name] = Combination(combine, weighted, of_classes)
        return combine

    return register


@combination("mean", weighted=True)
def mean(logits: Tensor, weights: Tensor, space: Space) -> Tensor:
    """Average the distributions, or the logits: the geometric mean of the distributions, up to its normalisation."""
    shares = weights.reshape(-1, *(1,) * (logits.ndim - 1))
    if space == "logits":
        return (shares * logits).sum(0)
    return (shares.log() + logits.log_softmax(2)).logsumexp(0)


@combination("confidence", of_classes=True)
def confidence(logits: Tensor, weights: Tensor, space: Space) -> Tensor:
    """Take for each sample the teacher whose most likely class has the highest probability, the first of equals."""
    chosen = _log_odds_against(logits).argmin(0)
    outputs = logits if space == "logits" else logits.log_softmax(2)
    return outputs.gather(0, chosen[None, :, None].expand(1, *logits.shape[1:]))[0]


def _log_odds_against(logits: Tensor) -> Tensor:
    """Compute the logarithm of the odds against the most likely class."""
    # Probabilities above 1 − 6e-8 are all 1 in float32, and could not be compared.
    best = logits.argmax(2, keepdim=True)
    return (logits - logits.gather(2, best)).scatter(2, best, -math.inf).logsumexp(2)
