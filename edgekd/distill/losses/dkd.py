"""Zhao, Cui, Song, Qiu and Liang, "Decoupled Knowledge Distillation" (CVPR 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.losses.options import check_temperature, check_weights
from edgekd.distill.registry import LOSSES, LogitLoss
from edgekd.errors import TrainingError
from edgekd.precision import full


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """Compute T² · (α · TCKD + β · NCKD), equation 7, averaged over the batch.

    TCKD is the Kullback-Leibler divergence between the teacher's and the student's probabilities of the target class
    against all others, NCKD that between their distributions over the other classes. KD is TCKD plus NCKD times the
    teacher's probability of the others (equation 6), so that little is learned of the others where the teacher is
    confident; here ``beta`` weights them.

    Args:
        student_logits, teacher_logits: (N, classes), of two classes or more.
        labels: (N,), the target classes. Where they are below 0 or left out, the teacher's prediction.
        alpha, beta: at least 0. The authors have α = 1 and, depending on the networks, β = 2 to 8 on CIFAR-100.
        temperature: above 0.

    Returns:
        A scalar in nats, at least 0 but for rounding.

    Raises:
        TrainingError: there are fewer than two classes.
    """
    check_weights(alpha=alpha, beta=beta)
    check_temperature(temperature)
    if student_logits.shape[1] < 2:
        raise TrainingError(
            f"dkd separates the target class from the others, and the logits are of {student_logits.shape[1]} class: "
            "distil with a loss of features instead"
        )
    predicted = teacher_logits.argmax(1)
    target = predicted if labels is None else torch.where(labels < 0, predicted, labels)
    student, teacher = (_decouple(full(logits) / temperature, target) for logits in (student_logits, teacher_logits))
    tckd, nckd = (
        F.kl_div(own, reference, reduction="batchmean", log_target=True)
        for own, reference in zip(student, teacher, strict=True)
    )
    return (alpha * tckd + beta * nckd) * temperature**2


def _decouple(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    target = target[:, None]
    index = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, index + (index >= target))
    binary = torch.cat([logits.gather(1, target), others.logsumexp(1, keepdim=True)], dim=1)
    return binary.log_softmax(1), others.log_softmax(1)


@LOSSES.register("dkd")
class DKD(LogitLoss):
    """Decoupled knowledge distillation (:func:`dkd_loss`) as a module.

    >>> loss = DKD(alpha=1.0, beta=8.0)(student_logits, teacher_logits, labels)  # doctest: +SKIP

    Raises:
        TrainingError: the temperature is not above 0, or a weight is below 0, or both are 0.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0):
        super().__init__()
        check_weights(alpha=alpha, beta=beta)
        check_temperature(temperature)
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return dkd_loss(student_logits, teacher_logits, labels, self.alpha, self.beta, self.temperature)
