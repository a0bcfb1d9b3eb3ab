"""Groups of channels that must be cut together, and the choice of which channels go.

torch-pruning finds the groups (Fang et al., "DepGraph", 2023). The choice is made here because its own
rounds widths down, which empties a layer or leaves it whole, and then a target cannot be met evenly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch_pruning as tp
from torch import Tensor, nn

from edgekd.prune.graph import ChannelGraph
from edgekd.prune.importance import Ties, branches, normalised, ties, topology
from edgekd.prune.registry import Importance


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels of ``root`` and of all that depends on them, with one score for those that can only go together.

    Attributes:
        branches: scores of each layer that has some of the channels only, as behind a concatenation; one must stay.
    """

    root: nn.Module
    scores: Tensor
    ties: Ties
    branches: tuple[frozenset[int], ...] = ()

    @property
    def width(self) -> int:
        return self.ties.width

    @property
    def repeats(self) -> int:
        """How many channels go or stay with each score: ``keep`` scores are ``keep * repeats`` channels."""
        return self.ties.repeats

    def keep(self, wanted: int, round_to: int, max_ratio: float) -> int:
        """The number of scores to keep: ``wanted``, bounded, and up to where widths are multiples of ``round_to``."""
        step = self.ties.step(round_to)
        least = max(1, math.ceil(len(self.scores) * (1 - max_ratio)), len(self._best()))
        return min(len(self.scores), math.ceil(max(wanted, least) / step) * step)

    def lost(self, keep: int) -> float:
        """The importance of the channels that go when the best ``keep`` of the scores stay."""
        return float(self.scores[self._gone(keep)].sum()) * self.repeats

    def cut(self, keep: int) -> list[int]:
        """Indices of the channels that go when the best ``keep`` of the scores stay."""
        return self.ties.channels(self._gone(keep))

    def _gone(self, keep: int) -> list[int]:
        order: list[int] = torch.argsort(self.scores, stable=True).tolist()
        best = self._best()
        return sorted(order, key=best.__contains__)[: len(order) - keep]

    def _best(self) -> set[int]:
        return {max(branch, key=lambda score: float(self.scores[score])) for branch in self.branches}


def unscored(group: tp.Group) -> ChannelGroup:
    """Return ``group`` with a score of 0 for each choice."""
    tied = ties(group)
    return ChannelGroup(group[0].dep.target.module, torch.zeros(tied.scores), tied, branches(group, tied))


def find_groups(
    graph: ChannelGraph, importance: Importance, scope: str, ignored: Sequence[nn.Module]
) -> list[ChannelGroup]:
    """The prunable groups of ``graph``, scored; the least important channels of a ``scope`` have the lowest score."""
    found = []
    for group in graph.get_all_groups(ignored):
        scores = importance(group)
        if scores is not None:
            found.append((replace(each := unscored(group), scores=each.ties.mean(scores.detach())), topology(group)))
    ranked = normalised([group.scores for group, _ in found], scope, [kind for _, kind in found])
    return [replace(group, scores=scores) for (group, _), scores in zip(found, ranked, strict=True)]
