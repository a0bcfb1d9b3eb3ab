"""Liu et al., "Learning Efficient Convolutional Networks through Network Slimming" (2017)."""

from torch import Tensor, nn

from edgekd.prune.group_members import GroupMember
from edgekd.prune.importance.group import GroupImportance, on_cpu
from edgekd.prune.registry import IMPORTANCES


@IMPORTANCES.register("bn_scale")
class BNScale(GroupImportance):
    """|γ| of the group's BatchNorms; no scores for a group in which a channel has no BatchNorm."""

    def row_scores(self, member: GroupMember) -> Tensor | None:
        if not isinstance(member.layer, nn.modules.batchnorm._BatchNorm):
            return None
        return on_cpu(member.rows(member.weight)).abs().sum(1)
