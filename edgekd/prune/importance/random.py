import torch
import torch_pruning as tp
from torch import Tensor

from edgekd.prune.registry import IMPORTANCES, Importance


@IMPORTANCES.register("random")
class Random(Importance):
    """Uniform in [0, 1), from torch's global generator: the control that every importance has to beat."""

    def __call__(self, group: tp.Group) -> Tensor:
        return torch.rand(len(group[0].idxs)).double()
