"""Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2."""

from collections.abc import Mapping

from torch import Tensor

from edgekd.distill.losses.options import check_temperature
from edgekd.distill.registry import LOSSES, OutputLoss
from edgekd.tasks.classification.train import kd_loss
from edgekd.tasks.signature import LOGITS
from edgekd.tasks.task import Task
from edgekd.train.objective import total


@LOSSES.register("kd")
class KD(OutputLoss):
    """Knowledge distillation by the task's own loss of its outputs; without a task, :func:`kd_loss` of logits.

    >>> loss = KD(temperature=4.0)(student_logits, teacher_logits)  # doctest: +SKIP

    Raises:
        TrainingError: the temperature is not above 0.
    """

    def __init__(self, temperature: float = 4.0, task: Task | None = None):
        super().__init__()
        check_temperature(temperature)
        self.temperature, self.task, self.compares_all = temperature, task, task is not None

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.task is None:
            return kd_loss(student_logits, teacher_logits, self.temperature)
        return self.compare({LOGITS: student_logits}, {LOGITS: teacher_logits}, labels)

    def compare(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], labels: Tensor | None) -> Tensor:
        if self.task is None:
            return kd_loss(student[LOGITS], teacher[LOGITS], self.temperature)
        targets = {} if labels is None else self.task.targets(labels)
        return total(self.task.soft_loss(student, teacher, targets, self.temperature))
