"""What makes a channel worth keeping. A group is the set of channels that must be cut together."""

from functools import partial

import torch_pruning as tp
from torch import Tensor

from edgekd.prune.registry import IMPORTANCES


class FilterNorm:
    """The L``p`` norm of the layer's own filters alone: Li et al., "Pruning Filters for Efficient ConvNets" (2017)."""

    def __init__(self, p: int):
        self.p = p

    def __call__(self, group: tp.Group) -> Tensor:
        layer, channels = group[0].dep.target.module, group[0].idxs
        weight = layer.weight.transpose(0, 1) if getattr(layer, "transposed", False) else layer.weight
        return weight.detach()[channels].flatten(1).norm(p=self.p, dim=1)


# Fang et al., "DepGraph: Towards Any Structural Pruning" (2023), equation 4: the norm over all layers of a group.
IMPORTANCES["group_magnitude"] = partial(tp.importance.GroupMagnitudeImportance, p=2)
IMPORTANCES["l1"] = partial(FilterNorm, p=1)
IMPORTANCES["l2"] = partial(FilterNorm, p=2)
# Liu et al., "Learning Efficient Convolutional Networks through Network Slimming" (2017): BatchNorm's scale.
IMPORTANCES["bn_scale"] = tp.importance.BNScaleImportance
# The control that every importance has to beat.
IMPORTANCES["random"] = tp.importance.RandomImportance
