"""Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019), the first-order expansion."""

from typing import ClassVar

from torch import Tensor

from edgekd.prune.importance.gradients import gradient_of
from edgekd.prune.importance.group import GroupImportance, on_cpu
from edgekd.prune.importance.members import Member
from edgekd.prune.registry import IMPORTANCES, Gradients


@IMPORTANCES.register("taylor")
class Taylor(GroupImportance):
    """|Σ w·∂L/∂w| over a channel's weights in each layer: what the loss changes by when they become 0, to first order.

    The paper squares it, which ranks alike. torch-pruning's adds up |w·∂L/∂w| unless told otherwise, and leaves
    BatchNorms out, since it looks for GroupNorms in their place (1.6.1).
    """

    gradients: ClassVar[Gradients] = "batch"

    def rows(self, member: Member) -> Tensor:
        return (on_cpu(member.rows(member.weight)) * on_cpu(member.rows(gradient_of(member)))).sum(1)

    def finished(self, sums: Tensor) -> Tensor:
        return sums.abs()
