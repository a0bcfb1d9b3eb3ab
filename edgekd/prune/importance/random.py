import torch
import torch_pruning as tp
from torch import Tensor

from edgekd.prune.coupling import coupled_channels
from edgekd.prune.registry import IMPORTANCES, Importance


@IMPORTANCES.register("random")
class Random(Importance):
    """Uniform scores in [0, 1), from torch's global generator: the control that every importance has to beat."""

    def __call__(self, group: tp.Group) -> Tensor:
        # Means over coupled channels would all be near 0.5, and these channels never among the lowest.
        coupling = coupled_channels(group)
        return coupling.spread(torch.rand(coupling.scores).double())
