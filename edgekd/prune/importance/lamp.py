"""Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning" (2021)."""

import torch
import torch_pruning as tp
from torch import Tensor

from edgekd.prune.coupling import coupled_channels
from edgekd.prune.importance.group_magnitude import GroupMagnitude
from edgekd.prune.registry import IMPORTANCES


def lamp(squares: Tensor) -> Tensor:
    """Divide each of ``squares`` by the sum of those that are not smaller, itself included; in [0, 1].

    Args:
        squares: (channels,), at least 0. Of two that are equal the first counts as the smaller.
    """
    order = squares.argsort(stable=True)
    left = squares[order].flip(0).cumsum(0).flip(0)
    # A sum of 0 is one of zeros, each of which gets 0.
    return torch.empty_like(squares).index_copy_(0, order, squares[order] / left.where(left > 0, left.new_ones(())))


@IMPORTANCES.register("lamp")
class LAMP(GroupMagnitude):
    """LAMP scores (:func:`lamp`) of the squared magnitudes of a group's channels, comparable between groups.

    Coupled channels count as one, by their mean.
    """

    def __init__(self, reduction: str = "mean"):
        super().__init__(reduction, normalise=False)

    def __call__(self, group: tp.Group) -> Tensor | None:
        squares = super().__call__(group)
        coupling = coupled_channels(group)
        return None if squares is None else coupling.spread(lamp(coupling.mean(squares)))
