"""Dependency groups of channels that must be cut together, and the choice of which channels go.

torch-pruning finds the groups (Fang et al., "DepGraph", 2023). The choice is made here because its own rounds widths
down, which empties a layer or leaves it uncut, and then a target cannot be met evenly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch_pruning as tp
from torch import Tensor, nn

from edgekd.prune.coupling import CoupledChannels, branches, coupled_channels
from edgekd.prune.graph import ChannelGraph
from edgekd.prune.importance import normalised, topology
from edgekd.prune.registry import Importance


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels of ``root`` and of all layers that depend on them, with one score for each set of coupled channels.

    Attributes:
        scores: (coupling.scores,) importances.
        branches: for each layer that has only some of the channels, as behind a concatenation, the scores of these;
            one of them must stay.
    """

    root: nn.Module
    scores: Tensor
    coupling: CoupledChannels
    branches: tuple[frozenset[int], ...] = ()

    @property
    def width(self) -> int:
        """Return the number of channels."""
        return self.coupling.width

    @property
    def repeats(self) -> int:
        """Return the number of channels for each score: ``keep`` scores are ``keep * repeats`` channels."""
        return self.coupling.repeats

    @property
    def is_fixed(self) -> bool:
        """Tell whether no channel can go."""
        return self.coupling.least == len(self.scores)

    def keep(self, wanted: int, round_to: int, max_ratio: float) -> int:
        """Return the number of scores to keep: at least ``wanted``, so that ``round_to`` divides the width."""
        step = self.coupling.step(round_to)
        least = max(self.coupling.least, math.ceil(len(self.scores) * (1 - max_ratio)), len(self._best()))
        return min(len(self.scores), math.ceil(max(wanted, least) / step) * step)

    def lost(self, keep: int) -> float:
        """Return the importance of the channels that go when the best ``keep`` scores stay."""
        return float(self.scores[self._removed(keep)].sum()) * self.repeats

    def cut(self, keep: int) -> list[int]:
        """Return the indices of the channels that go when the best ``keep`` scores stay."""
        return self.coupling.channels(self._removed(keep))

    def _removed(self, keep: int) -> list[int]:
        order: list[int] = torch.argsort(self.scores, stable=True).tolist()
        best = self._best()
        return sorted(order, key=best.__contains__)[: len(order) - keep]

    def _best(self) -> set[int]:
        return {max(branch, key=lambda score: float(self.scores[score])) for branch in self.branches}


def unscored(group: tp.Group) -> ChannelGroup:
    """Return ``group`` with all scores 0."""
    coupling = coupled_channels(group)
    return ChannelGroup(group[0].dep.target.module, torch.zeros(coupling.scores), coupling, branches(group, coupling))


def find_groups(
    graph: ChannelGraph, importance: Importance, scope: str, ignored: Sequence[nn.Module]
) -> list[ChannelGroup]:
    """Find the prunable groups of ``graph`` and score them, so that scores compare within ``scope``."""
    found = []
    for group in graph.get_all_groups(ignored):
        scores = importance(group)
        if scores is not None:
            each = unscored(group)
            found.append((replace(each, scores=each.coupling.mean(scores.detach())), topology(group)))
    ranked = normalised([group.scores for group, _ in found], scope, [kind for _, kind in found])
    return [replace(group, scores=scores) for (group, _), scores in zip(found, ranked, strict=True)]
