"""Losses of a network that distinguishes classes: on labels and against a teacher."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.errors import ModelError, TrainingError
from edgekd.precision import full
from edgekd.ranges import POSITIVE, SHARE_OR_NONE

CLOSE = 1e-3


def cross_entropy(logits: Tensor, classes: Tensor, known: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy in nats, the mean over the samples whose class is known; 0 where none is.

    Args:
        logits: (N, classes).
        classes: (N,), whole numbers from 0.
        known: (N,); None where all are.
        label_smoothing: in [0, 1).

    Raises:
        TrainingError: ``label_smoothing`` is out of its range.
    """
    SHARE_OR_NONE.check(TrainingError, label_smoothing=label_smoothing)
    if known is not None and not known.all():
        if not known.any():
            return 0 * logits.sum()
        logits, classes = logits[known], classes[known]
    return F.cross_entropy(logits, classes, label_smoothing=label_smoothing)


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """Return T² · KL(softmax(teacher / T) ‖ softmax(student / T)), averaged over the batch.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2. The factor T² keeps the
    gradient's size as T changes: gradients of the softened targets scale as 1/T².

    Args:
        student_logits, teacher_logits: (N, classes).
        temperature: above 0; 1 leaves the teacher's probabilities as they are.

    Returns:
        A scalar in nats, at least 0 but for rounding.

    Raises:
        TrainingError: the temperature is not above 0.
    """
    POSITIVE.check(TrainingError, temperature=temperature)
    student = F.log_softmax(full(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(full(teacher_logits) / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Return KL(softmax(reference) ‖ softmax(logits)) of each sample, in nats: (N,), of logits (N, classes)."""
    ours, exact = (F.log_softmax(full(each), 1) for each in (logits, reference))
    return F.kl_div(ours, exact, reduction="none", log_target=True).sum(1)


def must_be_logits(logits: Tensor, network: str) -> None:
    """Refuse outputs (N, classes) that are probabilities, since the losses apply the softmax themselves.

    Raises:
        ModelError: it names ``network``, and after what its outputs look.
    """
    if form := _form_of_probabilities(logits):
        raise ModelError(
            f"{network} gives probabilities, {form}; the losses apply the softmax themselves: return the logits, "
            "the values before it"
        )


def _form_of_probabilities(outputs: Tensor) -> str:
    rows = outputs[outputs.isfinite().all(1)].double()
    if not len(rows):
        return ""
    if (rows >= 0).all() and (rows.sum(1) - 1).abs().max() < CLOSE:
        return "not negative and 1 in sum, as after a softmax"
    if (rows <= 0).all() and rows.logsumexp(1).abs().max() < CLOSE:
        return "as their logarithms, 1 in sum, as after a log-softmax"
    if (rows >= 0).all() and (rows <= 1).all() and not torch.equal(rows, rows[:1].expand_as(rows)):
        return "between 0 and 1 for every input, as after a sigmoid"
    return ""
