"""Losses of a network that finds labels: on labels and against a teacher."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from edgekd.errors import ModelError, TrainingError
from edgekd.precision import full
from edgekd.ranges import POSITIVE, SHARE_OR_NONE


def binary_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    known: Tensor | None = None,
    positive_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the binary cross-entropy in nats, the mean over the entries that are known; 0 where none is.

    Args:
        logits, labels, known: (N, labels); labels are 0 or 1; ``known`` is None where all are.
        positive_weights: of each label, how many times as much an entry of 1 counts; 1 if left out.
        label_smoothing: in [0, 1), the share of each label that is spread over 0 and 1.

    Raises:
        TrainingError: ``label_smoothing`` is out of its range.
    """
    SHARE_OR_NONE.check(TrainingError, label_smoothing=label_smoothing)
    wide, smooth = full(logits), full(labels) * (1 - label_smoothing) + label_smoothing / 2
    weights = None if positive_weights is None else wide.new_tensor(positive_weights).expand_as(wide)
    if known is not None:
        if not known.any():
            return 0 * wide.sum()
        # Not by multiplication: what is not known may be any number, NaN too.
        wide, smooth = wide[known], smooth[known]
        weights = None if weights is None else weights[known]
    return F.binary_cross_entropy_with_logits(wide, smooth.to(wide.dtype), pos_weight=weights)


def mld_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return T² · Σ KL(Bernoulli(teacher / T) ‖ Bernoulli(student / T)) over labels, averaged over the batch.

    The multi-label logits distillation of Yang et al., "Multi-Label Knowledge Distillation" (2023), arXiv 2308.06453:
    each label is a question of its own, since the probabilities of labels do not add up to 1 as a softmax's do. The
    paper has no temperature; the factor T² keeps the gradient's size as T changes, as in Hinton et al. (2015).

    Args:
        student_logits, teacher_logits: (N, labels).
        temperature: above 0; 1 leaves the teacher's probabilities as they are.

    Returns:
        A scalar in nats, at least 0 but for rounding.

    Raises:
        TrainingError: the temperature is not above 0.
    """
    POSITIVE.check(TrainingError, temperature=temperature)
    softened = (full(each) / temperature for each in (student_logits, teacher_logits))
    return divergence(*softened).mean() * temperature**2


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Return Σ KL(Bernoulli(reference) ‖ Bernoulli(logits)) over the labels of each sample, in nats: (N,).

    Args:
        logits, reference: (N, labels).
    """
    ours, exact = full(logits), full(reference)
    chances = exact.sigmoid()
    with_label = chances * (F.logsigmoid(exact) - F.logsigmoid(ours))
    without = (1 - chances) * (F.logsigmoid(-exact) - F.logsigmoid(-ours))
    return (with_label + without).sum(1)


def must_be_logits(logits: Tensor, network: str) -> None:
    """Refuse outputs (N, labels) that are probabilities, since the losses apply the sigmoid themselves.

    Raises:
        ModelError: it names ``network``.
    """
    rows = logits[logits.isfinite().all(1)]
    if len(rows) and bool(((rows >= 0) & (rows <= 1)).all()) and bool((rows != rows[:1]).any()):
        raise ModelError(
            f"{network} gives probabilities, between 0 and 1 for every input, as after a sigmoid; the losses apply the "
            "sigmoid themselves: return the logits, the values before it"
        )
