"""The registry of importances, and their interface."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch_pruning as tp
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.registry import Registry

Gradients = Literal["none", "batch", "sample"]


class Importance(ABC):
    """A score for every channel of a dependency group, the set of channels that must be cut together.

    ``gradients`` says what :func:`edgekd.prune.importance.collect_gradients` must store in the weights before:
    nothing, the loss's gradient, or the mean square of each sample's gradient.
    """

    gradients: ClassVar[Gradients] = "none"

    @abstractmethod
    def __call__(self, group: tp.Group) -> Tensor | None:
        """Score each channel of the group's root: (channels,) float64 on the CPU, at least 0.

        Returns:
            The scores, or None if this importance does not apply to the group.

        Raises:
            ModelError: a score is not finite, or a gradient is missing.
        """


IMPORTANCES: Registry[type[Importance]] = Registry("importance", ModelError)
