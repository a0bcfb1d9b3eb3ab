"""Importances that look at every layer of a group."""

from abc import abstractmethod

import torch
import torch_pruning as tp
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.prune.importance.members import Member, members
from edgekd.prune.importance.reduction import REDUCTIONS
from edgekd.prune.registry import Importance


class GroupImportance(Importance):
    """Scores channels in each layer of a group by itself, then reduces over the layers.

    Args:
        reduction: an entry of ``REDUCTIONS``: ``mean``, ``sum``, ``max``, ``first`` or ``product``.
        normalise: divide by the mean over the group's channels, which makes groups comparable.

    Raises:
        ModelError: there is no such reduction.
    """

    def __init__(self, reduction: str = "mean", normalise: bool = True):
        self.reduction = REDUCTIONS.find(reduction)
        self.normalise = normalise

    @abstractmethod
    def rows(self, member: Member) -> Tensor | None:
        """(rows,): what each row adds to the score of its channel; None where this kind of layer has no say."""

    def finished(self, sums: Tensor) -> Tensor:
        """(channels,) scores in one layer, from the sums over each channel's rows."""
        return sums

    @torch.no_grad()
    def __call__(self, group: tp.Group) -> Tensor | None:
        width = len(group[0].idxs)
        layers, has = [], []
        for member in members(group):
            rows = self.rows(member)
            if rows is not None:
                sums = torch.zeros(width, dtype=torch.float64).index_add_(0, member.channels, rows.double())
                layers.append(self.finished(sums))
                has.append(torch.zeros(width, dtype=torch.bool).index_fill_(0, member.channels, True))
        # A channel that no layer speaks for would score 0 and go first.
        if not layers or not torch.stack(has).any(0).all():
            return None
        scores = self.reduction(torch.stack(layers), torch.stack(has))
        return finite(scores / _mean_or_one(scores) if self.normalise else scores, group)


def on_cpu(tensor: Tensor) -> Tensor:
    """At least float32, and on the CPU, where sums come out the same whatever the network's device."""
    return tensor.detach().cpu().to(torch.promote_types(tensor.dtype, torch.float32))


def _mean_or_one(scores: Tensor) -> Tensor:
    # Norms start at zero in many residual blocks; torch-pruning's scores are NaN there.
    mean = scores.mean()
    return torch.where(mean > 0, mean, 1.0)


def finite(scores: Tensor, group: tp.Group) -> Tensor:
    if not torch.isfinite(scores).all():
        raise ModelError(
            f"the channels of {group[0].dep.target.name} cannot be ranked: a weight or a gradient in the group is "
            "infinite or not a number; prune the network as it was before it diverged"
        )
    return scores
