"""What a training loop minimises."""

import torch.nn.functional as F
from torch import Tensor, nn


class Objective(nn.Module):
    """Subclasses give the loss of ``network`` on one batch; a teacher inside moves with ``.to(device)``."""

    def forward(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError


class CrossEntropy(Objective):
    """The loss against labels alone; ``label_smoothing`` in [0, 1)."""

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(network(inputs), labels, label_smoothing=self.label_smoothing)
