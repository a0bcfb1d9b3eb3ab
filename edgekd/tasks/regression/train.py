"""Losses of a network that predicts standardised values: on targets and against a teacher."""

import torch.nn.functional as F
from torch import Tensor

from edgekd.errors import TrainingError
from edgekd.precision import full


def smooth_l1(outputs: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
    """Return the mean over known entries of d² / 2 for |d| < 1, else |d| − 1/2, of d = outputs − targets.

    Girshick, "Fast R-CNN" (2015), equation 3: a Huber loss whose knee is at one deviation of the targets. 0 where
    nothing is known.

    Args:
        outputs, targets, known: (N, values), standardised; ``known`` is None where all are.
    """
    ours, wanted = full(outputs), full(targets)
    if known is not None and not known.all():
        if not known.any():
            return 0 * ours.sum()
        # Not by multiplication: what is not known is NaN.
        ours, wanted = ours[known], wanted[known]
    return F.smooth_l1_loss(ours, wanted.to(ours.dtype))


def bounded_smooth_l1(student: Tensor, teacher: Tensor, targets: Tensor | None = None, margin: float = 0.0) -> Tensor:
    """Return the smooth L1 of the student to the teacher, counted only where the teacher is nearer to the target.

    A teacher of values is a bound rather than a goal: Chen et al., "Learning Efficient Object Detection Models with
    Knowledge Distillation" (2017), equation 4, count a value where |student − target| + margin > |teacher − target|.
    Where no target is known every value counts. The mean is over all entries.

    Args:
        student, teacher: (N, values), standardised.
        targets: (N, values), NaN where not known; None where none is.
        margin: in deviations of the targets, at least 0.
    """
    ours, theirs = full(student), full(teacher)
    apart = F.smooth_l1_loss(ours, theirs, reduction="none")
    if targets is None:
        return apart.mean()
    wanted = full(targets)
    counts = ~((ours.detach() - wanted).abs() + margin <= (theirs - wanted).abs())  # NaN compares with nothing
    return (apart * counts).mean()


def divergence(outputs: Tensor, reference: Tensor) -> Tensor:
    """Return ½ Σ (outputs − reference)² over the values of each sample, in nats: (N,).

    That is KL(reference ‖ outputs) of normal distributions around both whose deviation is the targets' own.

    Args:
        outputs, reference: (N, values), standardised.
    """
    return 0.5 * (full(outputs) - full(reference)).square().flatten(1).sum(1)


def must_not_smooth(label_smoothing: float) -> None:
    """Refuse a smoothing, which values do not have: TrainingError."""
    if label_smoothing:
        raise TrainingError(f"label_smoothing is {label_smoothing:g}, and the targets are numbers: leave it out")
