"""Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2."""

import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.losses.options import check_temperature
from edgekd.distill.registry import LOSSES, LogitLoss
from edgekd.precision import full


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)), averaged over the batch.

    The factor T² keeps the gradient's size as T changes: gradients of the softened targets scale as 1/T².

    Args:
        student_logits, teacher_logits: (N, classes).
        temperature: above 0; 1 leaves the teacher's probabilities as they are.

    Returns:
        A scalar in nats, at least 0 but for rounding.
    """
    check_temperature(temperature)
    student = F.log_softmax(full(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(full(teacher_logits) / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


@LOSSES.register("kd")
class KD(LogitLoss):
    """:func:`kd_loss` as a module.

    >>> loss = KD(temperature=4.0)(student_logits, teacher_logits)  # doctest: +SKIP

    Raises:
        TrainingError: the temperature is not above 0.
    """

    def __init__(self, temperature: float = 4.0):
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return kd_loss(student_logits, teacher_logits, self.temperature)
