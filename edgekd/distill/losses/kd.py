"""Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2."""

from typing import ClassVar

from torch import Tensor

from edgekd.distill.losses.options import check_temperature
from edgekd.distill.registry import LOSSES, LogitLoss
from edgekd.tasks.classification.train import kd_loss
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.task import Task
from edgekd.train.objective import total


@LOSSES.register("kd")
class KD(LogitLoss):
    """Knowledge distillation by the task's own loss; for classes, :func:`kd_loss`.

    >>> loss = KD(temperature=4.0)(student_logits, teacher_logits)  # doctest: +SKIP

    Raises:
        TrainingError: the temperature is not above 0.
    """

    outputs: ClassVar[frozenset[str]] = frozenset({"classes", "labels"})

    def __init__(self, temperature: float = 4.0, task: Task | None = None):
        super().__init__()
        check_temperature(temperature)
        self.temperature, self.task = temperature, task

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.task is None:
            return kd_loss(student_logits, teacher_logits, self.temperature)
        outputs = {LOGITS: student_logits}, {LOGITS: teacher_logits}
        return total(self.task.soft_loss(*outputs, {}, self.temperature))
