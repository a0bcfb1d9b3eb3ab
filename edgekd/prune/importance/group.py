"""Importances that score channels in every layer of a dependency group."""

from abc import abstractmethod

import torch
import torch_pruning as tp
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.prune.group_members import GroupMember, group_members
from edgekd.prune.reduction import REDUCTIONS
from edgekd.prune.registry import IMPORTANCES, Importance


class GroupImportance(Importance):
    """Scores channels in each layer of a group separately, then reduces over the layers.

    Args:
        reduction: an entry of ``REDUCTIONS``: ``mean``, ``sum``, ``max``, ``first`` or ``product``.
        normalise: divide by the mean over the group's channels, so that groups compare.

    Raises:
        ModelError: there is no such reduction.
    """

    def __init__(self, reduction: str = "mean", normalise: bool = True):
        self.reduction = REDUCTIONS.find(reduction)
        self.normalise = normalise

    @abstractmethod
    def row_scores(self, member: GroupMember) -> Tensor | None:
        """Return what each row adds to its channel's score, (rows,), or None if this kind of layer does not count."""

    def channel_scores(self, sums: Tensor) -> Tensor:
        """Return the scores in one layer, (channels,), from the sums over each channel's rows."""
        return sums

    @torch.no_grad()
    def __call__(self, group: tp.Group) -> Tensor | None:
        width = len(group[0].idxs)
        layers, scored = [], []
        for member in group_members(group):
            rows = self.row_scores(member)
            if rows is not None:
                sums = torch.zeros(width, dtype=torch.float64).index_add_(0, member.channels, rows.double())
                layers.append(self.channel_scores(sums))
                scored.append(torch.zeros(width, dtype=torch.bool).index_fill_(0, member.channels, True))
        # A channel that no layer scores would have 0 and go first.
        if not layers or not torch.stack(scored).any(0).all():
            return None
        scores = self.reduction(torch.stack(layers), torch.stack(scored))
        return finite(scores / _mean_or_one(scores) if self.normalise else scores, group)


def build_importance(name: str, reduction: str | None = None) -> Importance:
    """Build the importance called ``name``, with its own reduction unless another one is given.

    >>> build_importance("taylor", reduction="max").gradients
    'batch'

    Raises:
        ModelError: there is no such importance or reduction, or it has nothing to reduce.
    """
    kind = IMPORTANCES.find(name)
    if reduction is None:
        return kind()
    if not issubclass(kind, GroupImportance):
        reducing = [each for each, other in IMPORTANCES.items() if issubclass(other, GroupImportance)]
        raise ModelError(
            f"importance {name!r} has no layers to reduce over: leave reduction {reduction!r} out, or choose one of "
            + ", ".join(sorted(reducing))
        )
    return kind(reduction=reduction)


def on_cpu(tensor: Tensor) -> Tensor:
    """Move ``tensor`` to the CPU, where sums are the same whatever the network's device, as float32 at least."""
    return tensor.detach().cpu().to(torch.promote_types(tensor.dtype, torch.float32))


def _mean_or_one(scores: Tensor) -> Tensor:
    # Norms start at zero in many residual blocks; torch-pruning's scores are NaN there.
    mean = scores.mean()
    return torch.where(mean > 0, mean, 1.0)


def finite(scores: Tensor, group: tp.Group) -> Tensor:
    """Return ``scores``, or raise ModelError if one is not finite."""
    if not torch.isfinite(scores).all():
        raise ModelError(
            f"the channels of {group[0].dep.target.name} cannot be ranked: a weight or a gradient in the group is "
            "infinite or not a number; prune the network as it was before it diverged"
        )
    return scores
