"""Fang et al., "DepGraph: Towards Any Structural Pruning" (2023), equation 4."""

from torch import Tensor

from edgekd.prune.importance.group import GroupImportance, on_cpu
from edgekd.prune.importance.members import Member
from edgekd.prune.registry import IMPORTANCES


@IMPORTANCES.register("group_magnitude")
class GroupMagnitude(GroupImportance):
    """Σ |w|^p over a channel's weights in each layer, p = 2 unless said, reduced over the layers of the group."""

    def __init__(self, reduction: str = "mean", normalise: bool = True, p: float = 2):
        super().__init__(reduction, normalise)
        self.p = p

    def rows(self, member: Member) -> Tensor:
        return on_cpu(member.rows(member.weight)).abs().pow(self.p).sum(1)
