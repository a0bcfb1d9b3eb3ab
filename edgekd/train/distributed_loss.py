"""An objective whose gradients are those of all ranks' samples."""

from typing import Any

import torch
from torch import Tensor, nn

from edgekd.train import distributed
from edgekd.train.global_batchnorm import GlobalBatchNorm
from edgekd.train.objective import Batch, Objective


class DistributedLoss:
    """The terms of ``objective`` on this rank's batch; all ranks call it at once.

    DistributedDataParallel wraps the whole loss rather than the network. What is learned along with the network is
    then trained together too, and a layer that is only hooked for its features counts as used.

    Args:
        network: as ``objective`` takes it.
        learned: a module that is trained along with it.
    """

    def __init__(self, network: nn.Module, objective: Objective, learned: nn.Module | None):
        self._parallel = distributed.data_parallel(_Terms(network, objective, learned))

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of this rank's ``batch`` by name."""
        # Fabric converts what it is given, and cannot convert what is frozen.
        with GlobalBatchNorm():
            found: dict[str, Tensor] = self._parallel(vars(batch))
        return found


class _Terms(nn.Module):
    def __init__(self, network: nn.Module, objective: Objective, learned: nn.Module | None):
        super().__init__()
        self.network, self.learned = network, learned
        # DDP looks for parameters that a loss leaves out, and where there is none it complains that it looked.
        self.left_out = nn.Parameter(torch.zeros((), device=next(network.parameters()).device))
        self._objective = [objective]  # in a list, so that the teacher is no part of this module

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        return self._objective[0].terms(self.network, Batch(**batch))
