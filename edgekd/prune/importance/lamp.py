"""Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning" (2021)."""

import torch
import torch_pruning as tp
from torch import Tensor

from edgekd.prune.importance.group_magnitude import GroupMagnitude
from edgekd.prune.importance.ties import ties
from edgekd.prune.registry import IMPORTANCES


def lamp(squares: Tensor) -> Tensor:
    """Each of ``squares`` divided by the sum of those that are not smaller, itself among them; in [0, 1].

    Args:
        squares: (channels,), at least 0. Of two that are equal the first counts as the smaller.
    """
    order = squares.argsort(stable=True)
    left = squares[order].flip(0).cumsum(0).flip(0)
    # Where nothing is left all that stays is 0, and so is its share.
    return torch.empty_like(squares).index_copy_(0, order, squares[order] / left.where(left > 0, left.new_ones(())))


@IMPORTANCES.register("lamp")
class LAMP(GroupMagnitude):
    """:func:`lamp` of the squared magnitudes of a group's channels; it makes groups comparable by itself.

    Channels that can only go together count as one, by their mean.
    """

    def __init__(self, reduction: str = "mean"):
        super().__init__(reduction, normalise=False)

    def __call__(self, group: tp.Group) -> Tensor | None:
        squares = super().__call__(group)
        tied = ties(group)
        return None if squares is None else tied.spread(lamp(tied.mean(squares)))
