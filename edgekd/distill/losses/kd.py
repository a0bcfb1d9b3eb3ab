"""Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2."""

import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.distill.registry import LOSSES


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)), averaged over the batch.

    The factor T² keeps the gradient's size as T changes: gradients of the softened targets scale as 1/T².

    Args:
        student_logits, teacher_logits: (N, classes).
        temperature: above 0; 1 leaves the teacher's probabilities as they are.

    Returns:
        A scalar, at least 0, in nats.
    """
    student = F.log_softmax(student_logits.float() / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits.float() / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


@LOSSES.register("kd")
class KD(nn.Module):
    """:func:`kd_loss` as a module.

    >>> loss = KD(temperature=4.0)(student_logits, teacher_logits)  # doctest: +SKIP
    """

    def __init__(self, temperature: float = 4.0):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        return kd_loss(student_logits, teacher_logits, self.temperature)
