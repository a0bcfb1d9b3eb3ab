"""He et al., "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration" (2019)."""

import torch
from torch import Tensor

from edgekd.prune.group_members import MIXING_LAYERS, GroupMember
from edgekd.prune.importance.group import GroupImportance, on_cpu
from edgekd.prune.registry import IMPORTANCES


@IMPORTANCES.register("fpgm")
class FPGM(GroupImportance):
    """Σ ‖F_c − F_j‖₂ over all filters F_j of a layer: the others can replace a filter near the geometric median.

    Filters are the weights of the layers that write the channels. torch-pruning's squares the weights first, so that a
    filter and its negative are the same (1.6.1).
    """

    def row_scores(self, member: GroupMember) -> Tensor | None:
        if member.reads or not isinstance(member.layer, MIXING_LAYERS):
            return None
        filters = on_cpu(member.rows(member.weight))
        return torch.cdist(filters, filters).sum(1)
