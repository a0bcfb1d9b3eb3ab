"""Li et al., "Pruning Filters for Efficient ConvNets" (2017): the norms of a layer's own filters."""

from typing import ClassVar

import torch
import torch_pruning as tp
from torch import Tensor

from edgekd.prune.group_members import MIXING_LAYERS, group_members
from edgekd.prune.importance.group import finite, on_cpu
from edgekd.prune.registry import IMPORTANCES, Importance


class FilterNorm(Importance):
    """The norm of each filter of the group's root; the other layers of the group do not count."""

    p: ClassVar[int]

    @torch.no_grad()
    def __call__(self, group: tp.Group) -> Tensor | None:
        root = next(group_members(group), None)
        if root is None or root.layer is not group[0].dep.target.module or not isinstance(root.layer, MIXING_LAYERS):
            return None
        return finite(on_cpu(root.rows(root.weight)).norm(p=self.p, dim=1).double(), group)


@IMPORTANCES.register("l1")
class L1(FilterNorm):
    """Σ |w| over the filter: section 3.1."""

    p = 1


@IMPORTANCES.register("l2")
class L2(FilterNorm):
    """√(Σ w²) over the filter."""

    p = 2
