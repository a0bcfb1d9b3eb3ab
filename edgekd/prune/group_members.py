"""Members of a dependency group: its layers, and which of their parameters belong to which channel.

torch-pruning's importances each walk the group themselves, and not alike: they leave depthwise filters out, give an
input of a grouped convolution the weights of all its groups, and stop at a transposed convolution in groups and at a
convolution with several filters per input (1.6.1). Here all importances share one walk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.dependency import Node

from edgekd.prune.grouped import loses_groups

MIXING_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True, eq=False)
class GroupMember:
    """A layer of a dependency group, by its inputs or by its outputs.

    Attributes:
        name: the layer's path and kind, for messages.
        reads: the group's channels are the layer's inputs; otherwise the layer writes or scales them.
        indices: (rows,) the layer's own channels that belong to the group.
        channels: (rows,) the group's channel that each of them belongs to. Behind a flattened image several rows
            belong to one channel; in a concatenation a member has only some of the channels.
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
        """Return the slices (rows, elements) of ``tensor``, shaped like the weight, at ``indices``."""
        if self._on_first_axis:
            rows = tensor.reshape(len(tensor), -1)
        else:
            split = tensor.reshape(self._groups, len(tensor) // self._groups, tensor.shape[1], -1)
            rows = split.transpose(1, 2).reshape(self._groups * tensor.shape[1], -1)
        # The weights behind a flattened image are many: no copy of them where none is needed.
        return rows if torch.equal(self.indices, torch.arange(len(rows))) else rows[self.indices]

    def spread(self, values: Tensor) -> Tensor:
        """Broadcast ``values`` (the group's channels,) to the weight; 0 where the weight is not the group's."""
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


def group_members(group: tp.Group) -> Iterator[GroupMember]:
    """Yield the convolutions, linear layers and norms of ``group`` that have weights, its root first.

    Layers that lose whole groups, and depthwise ones, appear by one side only: the other has the same weights.
    """
    positions = {index: position for position, index in enumerate(group[0].idxs)}
    finer = _finer_sides(group)
    for item in group.items:
        node, roots = item.dep.target, item.root_idxs
        layer = node.module
        if not isinstance(layer, MIXING_LAYERS + NORM_LAYERS) or layer.weight is None:
            continue
        if finer.get(node, item) is not item:
            continue
        # torch-pruning loses the roots' indices behind an expand, as in attention with grouped queries.
        if any(root is None for root in roots) or (isinstance(layer, NORM_LAYERS) and layer.weight.ndim != 1):
            continue
        channels = torch.tensor([positions[root] for root in roots])
        yield GroupMember(node.name, layer, reads(item), torch.tensor(item.idxs), channels)


def _finer_sides(group: tp.Group) -> dict[Node, Any]:
    """Return for each layer that loses whole groups its side with more of the group's channels, or its outputs."""
    found: dict[Node, Any] = {}
    for item in group.items:
        if loses_groups(item.dep.target):
            found.setdefault(item.dep.target, []).append(item)
    return {
        node: max(items, key=lambda item: (len(set(item.root_idxs)), not reads(item))) for node, items in found.items()
    }


def reads(item: Any) -> bool:
    """Tell whether an item of a dependency group is a layer by its inputs."""
    # Norms and depthwise convolutions are cut by one function on both sides, the one for outputs.
    return bool(item.dep.handler.__name__ == "prune_in_channels")
