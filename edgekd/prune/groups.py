"""Groups of channels that must be cut together, and the choice of which channels go.

torch-pruning finds the groups (Fang et al., "DepGraph", 2023). The choice is made here because its own
rounds widths down, which empties a layer or leaves it whole, and then a target cannot be met evenly.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.prune.plan import Plan, example_input
from edgekd.prune.registry import IMPORTANCES


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels of ``root`` and of all that depends on them; ``repeats`` is above 1 for grouped convolutions."""

    root: nn.Module
    scores: Tensor
    repeats: int

    @property
    def width(self) -> int:
        return len(self.scores) * self.repeats

    def keep(self, wanted: int, round_to: int, max_ratio: float) -> int:
        """The number of scores to keep: ``wanted``, bounded, and up to the next multiple of ``round_to``."""
        step = round_to // math.gcd(round_to, self.repeats)
        least = max(1, math.ceil(len(self.scores) * (1 - max_ratio)))
        return min(len(self.scores), math.ceil(max(wanted, least) / step) * step)

    def cut(self, keep: int) -> list[int]:
        """Indices of the channels that go when the best ``keep`` of the scores stay."""
        order = torch.argsort(self.scores, stable=True)[: len(self.scores) - keep]
        return [int(index) + part * len(self.scores) for part in range(self.repeats) for index in order]


def find_groups(
    network: nn.Module, graph: tp.DependencyGraph, importance: str, ignored: Sequence[nn.Module]
) -> Iterator[ChannelGroup]:
    """The prunable groups of ``network``, scored; the least important channel has the lowest score."""
    score = IMPORTANCES.find(importance)()
    for group in graph.get_all_groups(
        ignored_layers=list(ignored), root_module_types=(nn.modules.conv._ConvNd, nn.Linear)
    ):
        scores = score(group)
        if scores is not None:
            repeats = _repeats(group)
            yield ChannelGroup(group[0].dep.target.module, scores.detach().view(repeats, -1).mean(0), repeats)


def cut_channels(
    network: nn.Module,
    input_shape: tuple[int, ...],
    ratio: float,
    *,
    importance: str,
    scope: str,
    round_to: int,
    max_ratio: float,
    ignored: Sequence[nn.Module],
) -> Plan:
    """Cuts about ``ratio`` of the channels of ``network``, in place, and gives the plan of it."""
    graph = tp.DependencyGraph().build_dependency(network, example_input(network, input_shape))
    groups = list(find_groups(network, graph, importance, ignored))
    if not groups:
        raise ModelError(
            f"{type(network).__name__} has no channels to prune by importance {importance!r}: choose another "
            "importance, ignore fewer layers, or leave the stage out"
        )
    ranked = torch.cat([group.scores for group in groups]).sort().values
    threshold = ranked[min(int(len(ranked) * ratio), len(ranked) - 1)]
    for group in groups:
        wanted = int((group.scores >= threshold).sum()) if scope == "global" else round(len(group.scores) * (1 - ratio))
        channels = group.cut(group.keep(wanted, round_to, max_ratio))
        if channels:
            cut = graph.get_pruning_group(
                group.root, graph.get_pruner_of_module(group.root).prune_out_channels, channels
            )
            cut.prune()
    return graph.pruning_history()


def _repeats(group: tp.Group) -> int:
    for dependency, _ in group:
        module = dependency.target.module
        depthwise = getattr(module, "groups", 1) == getattr(module, "out_channels", 0)
        if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1 and not depthwise:
            return module.groups
        if isinstance(module, nn.GroupNorm):
            return module.num_groups
    return 1
