import torch
import torch_pruning as tp
from torch import Tensor

from edgekd.prune.importance.ties import ties
from edgekd.prune.registry import IMPORTANCES, Importance


@IMPORTANCES.register("random")
class Random(Importance):
    """Uniform in [0, 1), from torch's global generator: the control that every importance has to beat."""

    def __call__(self, group: tp.Group) -> Tensor:
        # Means over channels that go together would all be near 0.5, and those channels never among the last.
        tied = ties(group)
        return tied.spread(torch.rand(tied.scores).double())
