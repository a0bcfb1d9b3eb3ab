"""Groups of channels that must be cut together, and the choice of which channels go.

torch-pruning finds the groups (Fang et al., "DepGraph", 2023). The choice is made here because its own
rounds widths down, which empties a layer or leaves it whole, and then a target cannot be met evenly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekd.prune.graph import ChannelGraph
from edgekd.prune.importance import normalised, repeats, topology
from edgekd.prune.registry import Importance


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

    def lost(self, keep: int) -> float:
        """The importance of the channels that go when the best ``keep`` of the scores stay."""
        return float(self.scores.sort().values[: len(self.scores) - keep].sum()) * self.repeats

    def cut(self, keep: int) -> list[int]:
        """Indices of the channels that go when the best ``keep`` of the scores stay."""
        order = torch.argsort(self.scores, stable=True)[: len(self.scores) - keep]
        return [int(index) + part * len(self.scores) for part in range(self.repeats) for index in order]


def find_groups(
    graph: ChannelGraph, importance: Importance, scope: str, ignored: Sequence[nn.Module]
) -> list[ChannelGroup]:
    """The prunable groups of ``graph``, scored; the least important channel of a ``scope`` has the lowest score."""
    found = []
    for group in graph.get_all_groups(ignored):
        scores = importance(group)
        if scores is not None:
            parts = repeats(group)
            found.append((group[0].dep.target.module, scores.detach().view(parts, -1).mean(0), parts, topology(group)))
    roots, scores_of, parts_of, topologies = zip(*found, strict=True) if found else ((), (), (), ())
    ranked = normalised(scores_of, scope, topologies)
    return [ChannelGroup(*each) for each in zip(roots, ranked, parts_of, strict=True)]
