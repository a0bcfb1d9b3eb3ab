"""What makes a channel worth keeping. A group is the set of channels that must be cut together."""

from functools import partial

import torch_pruning as tp

from edgekd.prune.registry import IMPORTANCES

# Fang et al., "DepGraph: Towards Any Structural Pruning" (2023), equation 4: the norm over all layers of a group.
IMPORTANCES["group_magnitude"] = partial(tp.importance.GroupMagnitudeImportance, p=2)
# Li et al., "Pruning Filters for Efficient ConvNets" (2017): the norm of the layer's own filters.
IMPORTANCES["l1"] = partial(tp.importance.MagnitudeImportance, p=1)
IMPORTANCES["l2"] = partial(tp.importance.MagnitudeImportance, p=2)
# Liu et al., "Learning Efficient Convolutional Networks through Network Slimming" (2017): BatchNorm's scale.
IMPORTANCES["bn_scale"] = tp.importance.BNScaleImportance
# The control that every importance has to beat.
IMPORTANCES["random"] = tp.importance.RandomImportance
