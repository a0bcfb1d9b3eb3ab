"""How the widths of layers follow from the widths of the channel groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch_pruning as tp
from torch import nn

from edgekd.prune.grouped import loses_groups
from edgekd.prune.groups import ChannelGroup


@dataclass(frozen=True)
class Side:
    """Channels that a layer reads or writes: ``constant``, and for each group (own, of): ``own`` for ``of`` of it."""

    constant: int
    factors: Mapping[int, tuple[int, int]]

    def width(self, widths: Sequence[int] | Mapping[int, int]) -> int:
        return self.constant + sum(-(-widths[group] * own // of) for group, (own, of) in self.factors.items())


@dataclass(frozen=True)
class Structure:
    """What each layer reads and writes, by module path.

    Layers in ``tied`` have groups of one width, whatever their own: depthwise ones, and those that lose whole groups.
    """

    sides: Mapping[str, tuple[Side, Side]]
    tied: frozenset[str]

    def widths_of(self, layer: str, widths: Sequence[int]) -> tuple[int, int]:
        """(inputs, outputs) of ``layer`` where the groups have ``widths`` channels."""
        reads, writes = self.sides[layer]
        return reads.width(widths), writes.width(widths)

    def layers_of(self, group: int) -> list[str]:
        return [name for name, sides in self.sides.items() if any(group in side.factors for side in sides)]


def structure_of(network: nn.Module, graph: tp.DependencyGraph, groups: Sequence[ChannelGroup]) -> Structure:
    """The structure of ``network``, whose dependency graph and groups these are.

    A flattened image gives a layer many inputs for each channel, a concatenation gives it those of several groups.
    """
    names = {module: name for name, module in network.named_modules() if _has_widths(module)}
    reads: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names.values()}
    writes: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names.values()}
    for index, group in enumerate(groups):
        pruner = graph.get_pruner_of_module(group.root)
        whole = graph.get_pruning_group(group.root, pruner.prune_out_channels, list(range(group.width)))
        touched: dict[tuple[str, bool], set[int]] = {}
        for dependency, channels in whole:
            module = dependency.target.module
            if module in names:
                is_output = graph.is_out_channel_pruning_fn(dependency.handler)
                touched.setdefault((names[module], is_output), set()).update(channels)
                if is_output and _is_depthwise(module):
                    touched.setdefault((names[module], False), set()).update(channels)
        for (name, is_output), found in touched.items():
            (writes if is_output else reads)[name][index] = Fraction(len(found), group.width).as_integer_ratio()
    full = [group.width for group in groups]
    sides = {
        name: (_side(_inputs(module), reads[name], full), _side(_outputs(module), writes[name], full))
        for module, name in names.items()
    }
    return Structure(sides, frozenset(name for module, name in names.items() if _is_tied(module, graph)))


def _side(width: int, factors: dict[int, tuple[int, int]], full: Sequence[int]) -> Side:
    return Side(width - Side(0, factors).width(full), factors)


def _has_widths(module: nn.Module) -> bool:
    return isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))


def _is_depthwise(module: nn.Module) -> bool:
    if not isinstance(module, nn.modules.conv._ConvNd):
        return False
    return module.groups == module.in_channels == module.out_channels > 1


def _is_tied(module: nn.Module, graph: tp.DependencyGraph) -> bool:
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
