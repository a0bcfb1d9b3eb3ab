"""Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2."""

from torch import Tensor

from edgekd.distill.losses.options import check_temperature
from edgekd.distill.registry import LOSSES, LogitLoss
from edgekd.tasks.classification.train import kd_loss


@LOSSES.register("kd")
class KD(LogitLoss):
    """Knowledge distillation (:func:`kd_loss`) as a module.

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
