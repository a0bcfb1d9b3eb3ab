"""Convolutions with 1 < groups < channels, as in ResNeXt and RegNet: cut by whole groups, or inside of each.

torch-pruning takes the same places out of all groups (1.6.1), which leaves groups of any width, and runtimes have fast
kernels for multiples of 8 or 16 only. Without some of its groups a convolution is as fast in the others as it was.
"""

from collections.abc import Sequence
from typing import Any

import torch_pruning as tp
from torch import nn
from torch_pruning.dependency import Dependency, Node

# Fewer groups than these, and wider ones, are too much to go whole: their channels go in steps inside of each.
FEW, WIDE = 4, 8


class GroupedConvPruner(tp.BasePruningFunc):  # type: ignore[misc]
    """Channels that make up whole groups take these with them; all others must be as many in each group.

    Of a convolution that loses whole groups both sides must be cut, in any order.
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
            layer.weight = self._prune_parameter_and_grad(layer.weight, [place for place in keep if place < width], 1)


class GroupNormPruner(tp.pruner.function.GroupNormPruner):  # type: ignore[misc]
    """As torch-pruning's, except that channels which make up whole groups take these with them."""

    def prune_out_channels(self, layer: nn.GroupNorm, idxs: Sequence[int]) -> nn.Module:
        width = layer.num_channels // layer.num_groups
        if _are_groups(idxs, width):
            layer.num_groups -= len(idxs) // width
        super().prune_out_channels(layer, idxs)
        return layer

    prune_in_channels = prune_out_channels


class SameGroups:
    """Maps channels on one side of a convolution to those of the same groups on its other side.

    Channels that make up no whole group have none: they are cut inside of the groups, which the other side does not
    see. Where the sides differ in width, neighbours share a root, or some have none; ``reverse`` then gives back what
    this one was given, so that roots are not lost on the way there and back.
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
        here = {each.idx for each in indices}
        whole = {index // own for index in here if here.issuperset(range(index // own * own, (index // own + 1) * own))}
        self.given = indices
        self.found = [
            each._replace(idx=place)
            for each in indices
            if each.idx // own in whole
            for place in _places(each.idx, own, other)
        ]
        return self.found


def can_spare_groups(layer: nn.modules.conv._ConvNd) -> bool:
    return layer.groups >= FEW or max(layer.in_channels, layer.out_channels) <= WIDE * layer.groups


def tie_sides(node: Node, pruner: GroupedConvPruner) -> None:
    """Makes the inputs of a convolution depend on its outputs, group by group, and the outputs on the inputs."""
    into, out = pruner.prune_in_channels, pruner.prune_out_channels
    forth, back = SameGroups(node.module, reads=True), SameGroups(node.module, reads=False)
    forth.reverse, back.reverse = back, forth
    for trigger, handler, mapping in ((into, out, forth), (out, into, back)):
        dependency = Dependency(trigger=trigger, handler=handler, source=node, target=node)
        dependency.index_mapping[0] = mapping
        node.dependencies.append(dependency)


def untie_sides(node: Node) -> None:
    node.dependencies = [dependency for dependency in node.dependencies if not _is_tie(dependency)]


def loses_groups(node: Node) -> bool:
    """Whether the sides of ``node`` are tied."""
    return any(map(_is_tie, node.dependencies))


def is_grouped(module: nn.Module) -> bool:
    """With as many groups as outputs it is depthwise to torch-pruning, which cuts it by whole groups itself."""
    return isinstance(module, nn.modules.conv._ConvNd) and 1 < module.groups < module.out_channels


def _is_tie(dependency: Dependency) -> bool:
    return isinstance(dependency.index_mapping[0], SameGroups)


def _others(width: int, idxs: Sequence[int]) -> list[int]:
    return sorted(set(range(width)).difference(idxs))


def _are_groups(idxs: Sequence[int], width: int) -> bool:
    return len(idxs) == width * len({index // width for index in idxs})


def _places(index: int, own: int, other: int) -> range:
    """Of ``other`` channels those of which the ``index``-th of ``own`` is the counterpart, in the same group."""
    group, place = divmod(index, own)
    return range(group * other - (-place * other // own), group * other - (-(place + 1) * other // own))
