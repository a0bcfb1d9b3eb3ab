"""How the widths of layers follow from the widths of the channel groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch_pruning as tp
from torch import nn

from edgekd.prune.groups import ChannelGroup


@dataclass(frozen=True)
class Side:
    """Channels that a layer reads or writes: ``constant``, and for each group so many per channel of it."""

    constant: int
    factors: Mapping[int, int]

    def width(self, widths: Sequence[int]) -> int:
        return self.constant + sum(factor * widths[group] for group, factor in self.factors.items())


@dataclass(frozen=True)
class Structure:
    """What each layer reads and writes, by module path."""

    sides: Mapping[str, tuple[Side, Side]]

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
    reads: dict[str, dict[int, int]] = {name: {} for name in names.values()}
    writes: dict[str, dict[int, int]] = {name: {} for name in names.values()}
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
            (writes if is_output else reads)[name][index] = len(found) // group.width
    full = [group.width for group in groups]
    return Structure(
        {
            name: (
                _side(_inputs(module), reads[name], full),
                _side(_outputs(module), writes[name], full),
            )
            for module, name in names.items()
        }
    )


def _side(width: int, factors: dict[int, int], full: Sequence[int]) -> Side:
    return Side(width - sum(factor * full[group] for group, factor in factors.items()), factors)


def _has_widths(module: nn.Module) -> bool:
    return isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.conv._ConvNd) and module.groups == module.in_channels > 1


def _inputs(module: nn.Module) -> int:
    width = module.in_features if isinstance(module, nn.Linear) else module.in_channels
    assert isinstance(width, int)
    return width


def _outputs(module: nn.Module) -> int:
    width = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    assert isinstance(width, int)
    return width
