"""Importances by name, and what each of them is."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch_pruning as tp
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.registry import Registry

Gradients = Literal["none", "batch", "sample"]


class Importance(ABC):
    """What makes a channel worth keeping. A group is the set of channels that must be cut together.

    ``gradients`` says what :func:`edgekd.prune.importance.collect_gradients` must have left in the weights before:
    nothing, the loss's gradient, or the mean square of each sample's gradient.
    """

    gradients: ClassVar[Gradients] = "none"

    @abstractmethod
    def __call__(self, group: tp.Group) -> Tensor | None:
        """A score of at least 0 for each channel of the group's root, (channels,) float64 on the CPU.

        None where this importance says nothing of the group.

        Raises:
            ModelError: a score is not finite, or a gradient is not there.
        """


IMPORTANCES: Registry[type[Importance]] = Registry("importance", ModelError)
