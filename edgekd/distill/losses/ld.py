"""Zheng et al., "Localization Distillation for Dense Object Detection" (CVPR 2022), arXiv 2102.12252."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from edgekd.distill.losses.options import check_temperature
from edgekd.distill.probe import run_example
from edgekd.distill.registry import LOSSES, OutputLoss
from edgekd.tasks.detection import Detection
from edgekd.tasks.detection.train import bins_of_both, ld_loss
from edgekd.tasks.signature import Shape, Signature
from edgekd.tasks.tensors import output_tensors
from edgekd.train.objective import total


@LOSSES.register("ld")
class LD(OutputLoss):
    """Distil scores as :class:`~edgekd.distill.KD` does, and boxes by their sides' distributions over bins.

    A teacher's box teaches where its score is above 0.05 and its sides are a pixel or more, as much as its score, in
    place of the paper's regions.

    >>> loss = LD(task=Detection(("cat", "dog"))).compare(student(x), teacher(x), None)  # doctest: +SKIP

    Args:
        temperature: of scores, above 0.
        box_temperature: of distributions, above 0; the paper takes 10.

    Raises:
        TrainingError: a temperature is not above 0.
    """

    outputs: ClassVar[frozenset[str] | None] = frozenset({Detection.outputs})

    def __init__(self, temperature: float = 4.0, box_temperature: float = 10.0, task: Detection | None = None):
        super().__init__()
        check_temperature(temperature)
        check_temperature(box_temperature)
        # Heads that have bins say themselves how many classes there are.
        self.temperature, self.box_temperature, self.task = temperature, box_temperature, task or Detection(())

    def check(self, student: nn.Module, teacher: nn.Module, inputs: Shape | Signature) -> None:
        bins_of_both(*(output_tensors(run_example(each, inputs)) for each in (student, teacher)))

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """Compute the mean of :func:`ld_loss` over distributions (..., bins)."""
        return ld_loss(student_logits, teacher_logits, self.box_temperature).mean()

    def compare(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], labels: Tensor | None) -> Tensor:
        return total(self.task.soft_loss(student, teacher, {}, self.temperature, self.box_temperature))
