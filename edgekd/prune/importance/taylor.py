"""Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019), the first-order expansion."""

from typing import ClassVar

from torch import Tensor

from edgekd.prune.group_members import GroupMember
from edgekd.prune.importance.gradients import gradient_of
from edgekd.prune.importance.group import GroupImportance, on_cpu
from edgekd.prune.registry import IMPORTANCES, Gradients


@IMPORTANCES.register("taylor")
class Taylor(GroupImportance):
    """|Σ w·∂L/∂w| over a channel's weights in each layer: the change of the loss when they become 0, to first order.

    The paper squares it, which ranks alike. torch-pruning's adds up |w·∂L/∂w| by default, and leaves BatchNorms out,
    since it looks for GroupNorms in their place (1.6.1).
    """

    gradients: ClassVar[Gradients] = "batch"

    def row_scores(self, member: GroupMember) -> Tensor:
        return (on_cpu(member.rows(member.weight)) * on_cpu(member.rows(gradient_of(member)))).sum(1)

    def channel_scores(self, sums: Tensor) -> Tensor:
        return sums.abs()
