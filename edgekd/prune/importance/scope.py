"""Normalisation of scores between groups, so that one threshold serves them all."""

from collections.abc import Hashable, Sequence

import torch
import torch_pruning as tp
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.registry import nearest

SCOPES = ("paths", "global", "layer", "isomorphic")


def normalised(scores_by_group: Sequence[Tensor], scope: str, topologies: Sequence[Hashable]) -> list[Tensor]:
    """Normalise scores so that a threshold that cuts a share of all channels cuts the same share of each class.

    ``global`` leaves the scores as they are, and all groups are one class; so does ``paths``, where no threshold is
    set over groups. Otherwise a score becomes its rank within its class over the class's size, in (0, 1]. For
    ``layer`` each group is a class; for ``isomorphic`` all groups of one topology are one (Fang et al., "Isomorphic
    Pruning for Vision Models", 2024). Of equal scores the first ranks lowest.

    Args:
        scores_by_group: (channels,) for each group.
        scope: one of ``SCOPES``.
        topologies: :func:`topology` of each group, in the same order.

    Raises:
        ModelError: there is no such scope.
    """
    if scope in ("paths", "global"):
        return list(scores_by_group)
    if scope == "layer":
        return _ranks(scores_by_group, range(len(scores_by_group)))
    if scope == "isomorphic":
        return _ranks(scores_by_group, topologies)
    raise ModelError(f"unknown scope {scope!r}{nearest(scope, SCOPES)}; known: {', '.join(SCOPES)}")


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
