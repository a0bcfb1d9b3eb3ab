"""Which parameters of a dependency group belong to which of its channels.

torch-pruning's importances each walk the group themselves, and not alike: they leave depthwise filters out, give an
input of a grouped convolution the weights of all its groups, and stop at a transposed convolution in groups and at a
convolution with several filters per input (1.6.1). Here all importances share one walk.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn

MIXES = (nn.modules.conv._ConvNd, nn.Linear)
SCALES = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)
READS = (tp.prune_conv_in_channels, tp.prune_linear_in_channels)


@dataclass(frozen=True, eq=False)
class Member:
    """A layer of a group, by one of its two sides.

    Attributes:
        name: the layer's path and what it is, for messages.
        reads: the group's channels are the layer's inputs; otherwise it gives them out or scales them.
        indices: (rows,) the layer's own channels that belong to the group.
        channels: (rows,) the group's channel that each of them belongs to. Behind a flattened image several rows
            belong to one channel, in a concatenation a member has some of the channels only.
    """

    name: str
    layer: nn.Module
    reads: bool
    indices: Tensor
    channels: Tensor

    @property
    def weight(self) -> Tensor:
        weight = self.layer.weight
        assert isinstance(weight, Tensor)
        return weight

    def rows(self, tensor: Tensor) -> Tensor:
        """(rows, elements): what ``tensor``, shaped like the weight, has of each of ``indices``."""
        if self._on_first_axis:
            rows = tensor.reshape(len(tensor), -1)
        else:
            split = tensor.reshape(self._groups, len(tensor) // self._groups, tensor.shape[1], -1)
            rows = split.transpose(1, 2).reshape(self._groups * tensor.shape[1], -1)
        # The weights behind a flattened image are many: no copy of them where none is needed.
        return rows if torch.equal(self.indices, torch.arange(len(rows))) else rows[self.indices]

    def spread(self, values: Tensor) -> Tensor:
        """``values`` (the group's channels,) to be multiplied with the weight; 0 for what is not the group's."""
        shape, ones = self.weight.shape, [1] * (self.weight.ndim - 2)
        own = values.new_zeros(shape[0] if self._on_first_axis else self._groups * shape[1])
        own[self.indices] = values[self.channels]
        if self._on_first_axis:
            return own.view(-1, *[1] * (self.weight.ndim - 1))
        return own.view(self._groups, shape[1]).repeat_interleave(shape[0] // self._groups, 0).view(*shape[:2], *ones)

    @property
    def _groups(self) -> int:
        return int(getattr(self.layer, "groups", 1))

    @property
    def _on_first_axis(self) -> bool:
        # A transposed convolution's weight has the inputs first, every other layer's the outputs.
        return self.reads == bool(getattr(self.layer, "transposed", False))


def members(group: tp.Group) -> Iterator[Member]:
    """The convolutions, linear layers and norms of ``group`` that have weights, its root first."""
    positions = {index: position for position, index in enumerate(group[0].idxs)}
    for item in group.items:
        node, roots = item.dep.target, item.root_idxs
        layer = node.module
        if not isinstance(layer, MIXES + SCALES) or layer.weight is None:
            continue
        # torch-pruning loses the roots' indices behind an expand, as in attention with grouped queries.
        if any(root is None for root in roots) or (isinstance(layer, SCALES) and layer.weight.ndim != 1):
            continue
        channels = torch.tensor([positions[root] for root in roots])
        yield Member(node.name, layer, item.dep.handler in READS, torch.tensor(item.idxs), channels)


def repeats(group: tp.Group) -> int:
    """In how many equal parts the channels of ``group`` must be cut alike: above 1 for convolutions in groups.

    As many as there are channels, so that none can go, where a layer in groups has others beside them: a
    concatenation feeds it, and what is cut from one of its groups cannot be cut from the rest.
    """
    width, counts = len(group[0].idxs), [1]
    for item in group.items:
        parts, channels = _parts(item.dep.target.module, item.dep.handler in READS)
        if parts > 1 and list(item.idxs) != list(range(channels)):
            return width
        counts.append(parts)
    return math.lcm(*counts)


def _parts(layer: nn.Module, reads: bool) -> tuple[int, int]:
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups, layer.num_channels
    if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups != layer.out_channels:
        return layer.groups, layer.in_channels if reads else layer.out_channels
    return 1, 0
