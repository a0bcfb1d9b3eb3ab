"""Normalisation of scores between groups, so that one threshold serves them all.

Functions import PyTorch when they are called: recipes are read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from edgekd.errors import ModelError
from edgekd.registry import Registry

if TYPE_CHECKING:
    import torch_pruning as tp
    from torch import Tensor

Normalise = Callable[[Sequence["Tensor"], Sequence[Hashable]], list["Tensor"]]
SCOPES: Registry[Normalise] = Registry("scope", ModelError)


def normalised(scores_by_group: Sequence[Tensor], scope: str, topologies: Sequence[Hashable]) -> list[Tensor]:
    """Normalise scores so that a threshold that cuts a share of all channels cuts the same share of each class.

    Scopes other than ``paths`` and ``global`` replace a score by its rank within its class over the class's size, in
    (0, 1]. Of equal scores the first ranks lowest.

    Args:
        scores_by_group: (channels,) for each group.
        scope: an entry of ``SCOPES``.
        topologies: :func:`topology` of each group, in the same order.

    Raises:
        ModelError: there is no such scope.
    """
    return SCOPES.find(scope)(scores_by_group, topologies)


@SCOPES.register("paths", "global")
def whole_network(scores_by_group: Sequence[Tensor], topologies: Sequence[Hashable]) -> list[Tensor]:
    """Leave the scores as they are: all groups are one class, or no threshold is set over groups."""
    return list(scores_by_group)


@SCOPES.register("layer")
def each_layer(scores_by_group: Sequence[Tensor], topologies: Sequence[Hashable]) -> list[Tensor]:
    """Rank the scores of each group by itself."""
    return _ranks(scores_by_group, range(len(scores_by_group)))


@SCOPES.register("isomorphic")
def each_topology(scores_by_group: Sequence[Tensor], topologies: Sequence[Hashable]) -> list[Tensor]:
    """Rank the scores of all groups of one topology: Fang et al., "Isomorphic Pruning for Vision Models" (2024)."""
    return _ranks(scores_by_group, topologies)


def topology(group: tp.Group) -> Hashable:
    """Return the topology of ``group``: kinds of layers and how each is cut, in order, whatever their widths."""
    return tuple(
        (
            type(item.dep.source.module),
            type(item.dep.target.module),
            # A depthwise convolution differs from another one only by the function that cuts it.
            type(item.dep.handler.__self__),
            item.dep.handler.__name__,
        )
        for item in group.items
    )


def _ranks(scores_by_group: Sequence[Tensor], classes: Sequence[Hashable]) -> list[Tensor]:
    import torch

    found: dict[Hashable, list[int]] = {}
    for index, (_, each) in enumerate(zip(scores_by_group, classes, strict=True)):
        found.setdefault(each, []).append(index)
    ranks: dict[int, Tensor] = {}
    for indices in found.values():
        pooled = torch.cat([scores_by_group[index] for index in indices])
        order = pooled.argsort(stable=True)
        share = torch.arange(1, len(pooled) + 1, dtype=torch.float64) / len(pooled)
        ranked = torch.empty_like(share).index_copy_(0, order.cpu(), share)
        ranks.update(zip(indices, ranked.split([len(scores_by_group[index]) for index in indices]), strict=True))
    return [ranks[index] for index in range(len(scores_by_group))]
