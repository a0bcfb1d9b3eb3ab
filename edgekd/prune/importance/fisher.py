"""LeCun, Denker and Solla, "Optimal Brain Damage" (1989), with Fisher's information for the Hessian's diagonal.

Theis et al., "Faster gaze prediction with dense networks and Fisher pruning" (2018), have the same for channels.
"""

from typing import ClassVar

from torch import Tensor

from edgekd.prune.group_members import GroupMember
from edgekd.prune.importance.gradients import squared_gradient_of
from edgekd.prune.importance.group import GroupImportance, on_cpu
from edgekd.prune.registry import IMPORTANCES, Gradients


@IMPORTANCES.register("fisher")
class Fisher(GroupImportance):
    """½ Σ h·w² over a channel's weights in each layer, where h is the mean of the samples' squared gradients.

    torch-pruning's keeps only the last sample's gradients, because it looks its sums up by name and stores them by
    parameter (1.6.1).
    """

    gradients: ClassVar[Gradients] = "sample"

    def row_scores(self, member: GroupMember) -> Tensor:
        weight, hessian = on_cpu(member.rows(member.weight)), on_cpu(member.rows(squared_gradient_of(member)))
        return (hessian * weight.square()).sum(1) / 2
