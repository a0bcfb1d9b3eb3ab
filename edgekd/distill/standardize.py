"""Sun, Ren, Li, Wang and Cao, "Logit Standardization in Knowledge Distillation" (CVPR 2024)."""

import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.registry import LogitLoss
from edgekd.errors import TrainingError
from edgekd.precision import full


def standardize(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """Compute (logits − mean) / √(variance + eps²) over the classes of each sample: algorithm 1, τ left to the loss.

    The variance is the population's, over the number of classes, as in the paper. The authors' code has the sample's,
    which makes the result smaller by √(1 − 1 / classes). Each result lies within ±√(classes − 1).

    Args:
        logits: (N, classes).
        eps: above 0. Constant logits become zeros, with a gradient of up to 1 / eps.

    Returns:
        (N, classes), in float32 at least.
    """
    # Layer normalisation without weights is this formula, computed without cancellation for large logits.
    return F.layer_norm(full(logits), logits.shape[1:], eps=eps**2)


class Standardized(LogitLoss):
    """A loss of standardized logits, for which the scale of the student's logits does not matter.

    The paper distils with KD at a temperature of 2 and a weight of 9.

    >>> loss = Standardized(KD(temperature=2.0))(student_logits, teacher_logits)  # doctest: +SKIP

    Raises:
        TrainingError: ``loss`` is not a loss of logits.
    """

    def __init__(self, loss: LogitLoss):
        super().__init__()
        if not isinstance(loss, LogitLoss):
            raise TrainingError(
                f"only logits can be standardized, and {type(loss).__name__} is not a LogitLoss: leave standardize out"
            )
        self.loss = loss

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.loss(standardize(student_logits), standardize(teacher_logits), labels)
