"""Convolutions with 1 < groups < channels, as in ResNeXt and RegNet: cut by whole groups, or within each.

torch-pruning cuts the same channels in every group (1.6.1), which leaves groups of any width, and runtimes have fast
kernels for multiples of 8 or 16 only. Without some of its groups a convolution is as fast in the others as it was.
"""

from collections.abc import Sequence
from typing import Any

import torch_pruning as tp
from torch import nn
from torch_pruning.dependency import Dependency, Node

# With fewer groups than FEW, or wider ones than WIDE, whole groups are too coarse: channels go within each group.
FEW, WIDE = 4, 8


class GroupedConvPruner(tp.BasePruningFunc):  # type: ignore[misc]
    """Cuts whole groups where the channels make up whole groups; otherwise the same number of channels in each group.

    Where a convolution loses whole groups, both its inputs and its outputs must be cut, in any order.
    """

    def prune_out_channels(self, layer: nn.modules.conv._ConvNd, idxs: Sequence[int]) -> nn.Module:
        keep = _others(layer.out_channels, idxs)
        layer.out_channels = len(keep)
        self._cut_weight(layer, idxs, keep, 1 if layer.transposed else 0)
        if layer.bias is not None:
            layer.bias = self._prune_parameter_and_grad(layer.bias, keep, 0)
        return layer

    def prune_in_channels(self, layer: nn.modules.conv._ConvNd, idxs: Sequence[int]) -> nn.Module:
        keep = _others(layer.in_channels, idxs)
        layer.in_channels = len(keep)
        self._cut_weight(layer, idxs, keep, 0 if layer.transposed else 1)
        return layer

    def get_out_channels(self, layer: nn.modules.conv._ConvNd) -> int:
        return layer.out_channels

    def get_in_channels(self, layer: nn.modules.conv._ConvNd) -> int:
        return layer.in_channels

    def _cut_weight(self, layer: nn.modules.conv._ConvNd, idxs: Sequence[int], keep: Sequence[int], axis: int) -> None:
        # The first axis holds the channels of all groups, the second those of one.
        width = layer.weight.shape[1]
        if axis == 0:
            layer.weight = self._prune_parameter_and_grad(layer.weight, keep, 0)
        elif _are_groups(idxs, width):
            layer.groups = len(keep) // width
        else:
            layer.weight = self._prune_parameter_and_grad(layer.weight, [index for index in keep if index < width], 1)


class GroupNormPruner(tp.pruner.function.GroupNormPruner):  # type: ignore[misc]
    """torch-pruning's, except that channels which make up whole groups lower the number of groups."""

    def prune_out_channels(self, layer: nn.GroupNorm, idxs: Sequence[int]) -> nn.Module:
        width = layer.num_channels // layer.num_groups
        if _are_groups(idxs, width):
            layer.num_groups -= len(idxs) // width
        super().prune_out_channels(layer, idxs)
        return layer

    prune_in_channels = prune_out_channels


class SameGroups:
    """Index mapping from channels on one side of a convolution to those of the same groups on its other side.

    Channels that make up no whole group map to none: they are cut within the groups, which the other side does not
    notice. Where the sides differ in width, neighbours share a root, or some have none; ``reverse`` then returns what
    this one was given, so that roots survive the way there and back.
    """

    reverse: "SameGroups"

    def __init__(self, layer: nn.modules.conv._ConvNd, reads: bool):
        self.layer, self.reads = layer, reads
        self.given: Sequence[Any] = ()
        self.found: list[Any] = []

    def __call__(self, indices: Sequence[Any]) -> Sequence[Any]:
        if indices and indices == self.reverse.found:
            return self.reverse.given
        inputs, outputs = self.layer.in_channels // self.layer.groups, self.layer.out_channels // self.layer.groups
        own, other = (inputs, outputs) if self.reads else (outputs, inputs)
        cut = {each.idx for each in indices}
        whole = {index // own for index in cut if cut.issuperset(range(index // own * own, (index // own + 1) * own))}
        self.given = indices
        self.found = [
            each._replace(idx=index)
            for each in indices
            if each.idx // own in whole
            for index in _counterparts(each.idx, own, other)
        ]
        return self.found


def can_spare_groups(layer: nn.modules.conv._ConvNd) -> bool:
    """Tell whether the groups of ``layer`` are many or narrow enough to be cut as a whole."""
    return layer.groups >= FEW or max(layer.in_channels, layer.out_channels) <= WIDE * layer.groups


def couple_sides(node: Node, pruner: GroupedConvPruner) -> None:
    """Make the inputs of a convolution depend on its outputs, group by group, and the outputs on the inputs."""
    into, out = pruner.prune_in_channels, pruner.prune_out_channels
    forth, back = SameGroups(node.module, reads=True), SameGroups(node.module, reads=False)
    forth.reverse, back.reverse = back, forth
    for trigger, handler, mapping in ((into, out, forth), (out, into, back)):
        dependency = Dependency(trigger=trigger, handler=handler, source=node, target=node)
        dependency.index_mapping[0] = mapping
        node.dependencies.append(dependency)


def decouple_sides(node: Node) -> None:
    """Take back :func:`couple_sides`."""
    node.dependencies = [dependency for dependency in node.dependencies if not _couples_sides(dependency)]


def loses_groups(node: Node) -> bool:
    """Tell whether ``node`` is cut by whole groups, its inputs and outputs coupled."""
    return any(map(_couples_sides, node.dependencies))


def is_grouped(module: nn.Module) -> bool:
    """Tell whether ``module`` is a convolution with 1 < groups < channels."""
    # With as many groups as outputs it is depthwise to torch-pruning, which cuts it by whole groups itself.
    return isinstance(module, nn.modules.conv._ConvNd) and 1 < module.groups < module.out_channels


def _couples_sides(dependency: Dependency) -> bool:
    return isinstance(dependency.index_mapping[0], SameGroups)


def _others(width: int, idxs: Sequence[int]) -> list[int]:
    return sorted(set(range(width)).difference(idxs))


def _are_groups(idxs: Sequence[int], width: int) -> bool:
    return len(idxs) == width * len({index // width for index in idxs})


def _counterparts(index: int, own: int, other: int) -> range:
    """Return the channels on the other side, ``other`` for each group, that channel ``index`` of ``own`` maps to."""
    group, offset = divmod(index, own)
    return range(group * other - (-offset * other // own), group * other - (-(offset + 1) * other // own))
