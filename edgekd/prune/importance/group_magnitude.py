"""Fang et al., "DepGraph: Towards Any Structural Pruning" (2023), equation 4."""

from torch import Tensor

from edgekd.prune.group_members import GroupMember
from edgekd.prune.importance.group import GroupImportance, on_cpu
from edgekd.prune.registry import IMPORTANCES


@IMPORTANCES.register("group_magnitude")
class GroupMagnitude(GroupImportance):
    """Σ |w|^p over a channel's weights in each layer, reduced over the layers of the group; p is 2 by default."""

    def __init__(self, reduction: str = "mean", normalise: bool = True, p: float = 2):
        super().__init__(reduction, normalise)
        self.p = p

    def row_scores(self, member: GroupMember) -> Tensor:
        return on_cpu(member.rows(member.weight)).abs().pow(self.p).sum(1)
