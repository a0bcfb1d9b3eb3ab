"""The loss of a student that learns from a teacher and from labels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.train import Objective


class Distillation(Objective):
    """``hard_weight`` · cross-entropy + (1 − ``hard_weight``) · ``loss``(student, teacher).

    Args:
        teacher: run live, in evaluation mode and without gradients.
        loss: takes (student logits, teacher logits), for example :class:`edgekd.distill.KD`.
        hard_weight: weight of the labels, in [0, 1].
        label_smoothing: of the hard labels, in [0, 1).
    """

    def __init__(self, teacher: nn.Module, loss: nn.Module, hard_weight: float = 0.1, label_smoothing: float = 0.0):
        super().__init__()
        self.teacher = teacher.eval().requires_grad_(False)
        self.loss = loss
        self.hard_weight = hard_weight
        self.label_smoothing = label_smoothing

    def forward(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            targets = self.teacher(inputs)
        logits = network(inputs)
        soft = self.loss(logits, targets)
        if self.hard_weight == 0:
            return soft
        hard = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
        return self.hard_weight * hard + (1 - self.hard_weight) * soft
