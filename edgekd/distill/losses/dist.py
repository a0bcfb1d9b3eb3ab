"""Huang, You, Wang, Qian and Xu, "Knowledge Distillation from A Stronger Teacher" (NeurIPS 2022)."""

import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.losses.options import check_temperature, check_weights
from edgekd.distill.registry import LOSSES, LogitLoss
from edgekd.precision import full

SMALLEST_NORM = 1e-4  # of both, where the 1e-8 that the authors' code adds to the product of the norms takes effect


def dist_loss(
    student_logits: Tensor, teacher_logits: Tensor, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """Compute T² · (β · inter + γ · intra), sections 3.1 and 3.2.

    Both are means of 1 − Pearson's correlation of the student's and the teacher's softmax(logits / T): inter over the
    samples' rows, intra over the classes' columns. A student with its teacher's ranking need not match its confidence.
    The paper's equations have no T²; its authors' code has it, as KD does, and so has this.

    A row or column whose norm about its mean is below 1e-4 counts less the smaller the norm is. Constant ones, and so
    the columns of a single sample, cost nothing against one another, and 0.5 against one that varies.

    Args:
        student_logits, teacher_logits: (N, classes).
        beta, gamma: at least 0. The defaults are the authors' code's; the paper trains classifiers with 2 and 2
            with a cross-entropy of weight 1.
        temperature: above 0. The paper has 1 on ImageNet, and 4 on CIFAR-100.

    Returns:
        A scalar between 0 and 2 · T² · (β + γ).
    """
    check_weights(beta=beta, gamma=gamma)
    check_temperature(temperature)
    student, teacher = (F.softmax(full(logits) / temperature, dim=1) for logits in (student_logits, teacher_logits))
    inter = _pearson_distance(student, teacher)
    intra = _pearson_distance(student.T, teacher.T)
    return (beta * inter + gamma * intra) * temperature**2


def _pearson_distance(a: Tensor, b: Tensor) -> Tensor:
    # For unit vectors 1 − a·b is half of ‖a − b‖², which has no cancellation and is 0 for equal ones, constant or not.
    difference = _standard(a) - _standard(b)
    return difference.square().sum(1).mean() / 2


def _standard(x: Tensor) -> Tensor:
    return F.normalize(x - x.mean(1, keepdim=True), dim=1, eps=SMALLEST_NORM)


@LOSSES.register("dist")
class DIST(LogitLoss):
    """DIST (:func:`dist_loss`) as a module.

    >>> loss = DIST(beta=2.0, gamma=2.0)(student_logits, teacher_logits)  # doctest: +SKIP

    Raises:
        TrainingError: the temperature is not above 0, or a weight is below 0, or both are 0.
    """

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0):
        super().__init__()
        check_weights(beta=beta, gamma=gamma)
        check_temperature(temperature)
        self.beta, self.gamma, self.temperature = beta, gamma, temperature

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return dist_loss(student_logits, teacher_logits, self.beta, self.gamma, self.temperature)
