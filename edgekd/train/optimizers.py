"""Optimizers that a recipe may name; each imports PyTorch when it is made, so that recipes are read without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgekd.errors import TrainingError
from edgekd.registry import Registry

if TYPE_CHECKING:
    from torch.optim import Optimizer

# PyTorch's own type: parameters, and settings that are theirs alone.
Groups = list[dict[str, Any]]

# Each takes parameters, the highest learning rate and a momentum, which it may have no use for.
OPTIMIZERS: Registry[Callable[[Groups, float, float], Optimizer]] = Registry("optimizer", TrainingError)


@OPTIMIZERS.register("sgd")
def sgd(groups: Groups, lr: float, momentum: float) -> Optimizer:
    """Make SGD, with Nesterov's momentum if there is any."""
    from torch.optim import SGD

    return SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)


@OPTIMIZERS.register("adamw")
def adamw(groups: Groups, lr: float, momentum: float) -> Optimizer:
    """Make AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019)."""
    from torch.optim import AdamW

    return AdamW(groups, lr=lr)
