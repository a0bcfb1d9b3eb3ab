"""Fan-in and fan-out of every layer as functions of the widths of the channel groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch_pruning as tp
from torch import nn

from edgekd.prune.grouped import loses_groups
from edgekd.prune.groups import ChannelGroup


@dataclass(frozen=True)
class Fan:
    """A layer's fan-in or fan-out: constant + Σ ⌈width · own / of⌉ over the channel groups that it depends on.

    Attributes:
        factors: (own, of) by the index of the group.
    """

    constant: int
    factors: Mapping[int, tuple[int, int]]

    def width(self, widths: Sequence[int] | Mapping[int, int]) -> int:
        """Return the number of channels where the groups have ``widths``."""
        return self.constant + sum(-(-widths[group] * own // of) for group, (own, of) in self.factors.items())


class Fans(NamedTuple):
    """Both sides of a layer."""

    fan_in: Fan
    fan_out: Fan


@dataclass(frozen=True)
class Structure:
    """The fan-in and fan-out of each layer, by module path.

    Attributes:
        coupled: layers whose groups keep their width, since inputs and outputs are cut by whole groups: depthwise
            convolutions, and grouped ones with many groups.
    """

    fans: Mapping[str, Fans]
    coupled: frozenset[str]

    def widths_of(self, layer: str, widths: Sequence[int]) -> tuple[int, int]:
        """Return (inputs, outputs) of ``layer`` where the groups have ``widths`` channels."""
        fan_in, fan_out = self.fans[layer]
        return fan_in.width(widths), fan_out.width(widths)

    def layers_of(self, group: int) -> list[str]:
        """Return the layers that read or write channels of the group with this index."""
        return [name for name, fans in self.fans.items() if any(group in fan.factors for fan in fans)]


def structure_of(network: nn.Module, graph: tp.DependencyGraph, groups: Sequence[ChannelGroup]) -> Structure:
    """Find the structure of ``network`` from its dependency graph and its channel groups.

    Behind a flattened image a layer has many inputs for each channel; behind a concatenation, those of several groups.
    """
    names = {module: name for name, module in network.named_modules() if _has_widths(module)}
    reads: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names.values()}
    writes: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names.values()}
    for index, group in enumerate(groups):
        pruner = graph.get_pruner_of_module(group.root)
        all_channels = graph.get_pruning_group(group.root, pruner.prune_out_channels, list(range(group.width)))
        touched: dict[tuple[str, bool], set[int]] = {}
        for dependency, channels in all_channels:
            module = dependency.target.module
            if module in names:
                is_output = graph.is_out_channel_pruning_fn(dependency.handler)
                touched.setdefault((names[module], is_output), set()).update(channels)
                if is_output and _is_depthwise(module):
                    touched.setdefault((names[module], False), set()).update(channels)
        for (name, is_output), found in touched.items():
            (writes if is_output else reads)[name][index] = Fraction(len(found), group.width).as_integer_ratio()
    uncut = [group.width for group in groups]
    fans = {
        name: Fans(_fan(_inputs(module), reads[name], uncut), _fan(_outputs(module), writes[name], uncut))
        for module, name in names.items()
    }
    return Structure(fans, frozenset(name for module, name in names.items() if _is_coupled(module, graph)))


def _fan(width: int, factors: dict[int, tuple[int, int]], uncut: Sequence[int]) -> Fan:
    return Fan(width - Fan(0, factors).width(uncut), factors)


def _has_widths(module: nn.Module) -> bool:
    return isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))


def _is_depthwise(module: nn.Module) -> bool:
    if not isinstance(module, nn.modules.conv._ConvNd):
        return False
    return module.groups == module.in_channels == module.out_channels > 1


def _is_coupled(module: nn.Module, graph: tp.DependencyGraph) -> bool:
    node = graph.module2node.get(module)
    return _is_depthwise(module) or (node is not None and loses_groups(node))


def _inputs(module: nn.Module) -> int:
    width = module.in_features if isinstance(module, nn.Linear) else module.in_channels
    assert isinstance(width, int)
    return width


def _outputs(module: nn.Module) -> int:
    width = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    assert isinstance(width, int)
    return width
