"""Losses of a network that gives a class for each pixel: on masks and against a teacher."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.errors import TrainingError
from edgekd.precision import full
from edgekd.ranges import POSITIVE, SHARE_OR_NONE
from edgekd.tasks.classification import train as classes_of_samples

# Pixels of a batch that are looked at for whether outputs are probabilities.
LOOKED_AT = 4096


def cross_entropy(logits: Tensor, classes: Tensor, known: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy in nats, the mean over the pixels that are known; 0 where none is.

    Args:
        logits: (N, classes, H, W); those of another size than the masks are interpolated to it.
        classes, known: (N, H, W).
        label_smoothing: in [0, 1).

    Raises:
        TrainingError: ``label_smoothing`` is out of its range.
    """
    SHARE_OR_NONE.check(TrainingError, label_smoothing=label_smoothing)
    logits = _of_masks(logits, classes)
    if not known.any():
        return 0 * logits.sum()
    targets = torch.where(known, classes.long(), -1)
    return F.cross_entropy(full(logits), targets, ignore_index=-1, label_smoothing=label_smoothing)


def dice_loss(logits: Tensor, classes: Tensor, known: Tensor) -> Tensor:
    """Return 1 − the mean of 2 · Σ p·g / (Σ p + Σ g) over the classes of the batch's known pixels; 0 where none is.

    Milletari, Navab and Ahmadi, "V-Net" (2016), section 3, without the squares, for several classes: p are the
    softmax's probabilities, g is 1 for a pixel's class. Sums are over the batch.

    Args:
        logits: (N, classes, H, W); those of another size than the masks are interpolated to it.
        classes, known: (N, H, W).

    Returns:
        A scalar in [0, 1].
    """
    logits = _of_masks(logits, classes)
    if not known.any():
        return 0 * logits.sum()
    count = logits.shape[1]
    probabilities = full(logits).softmax(1).movedim(1, -1)[known]
    truth = F.one_hot(classes[known].long(), count).to(probabilities.dtype)
    sizes = truth.sum(0)
    dice = 2 * (probabilities * truth).sum(0) / (probabilities.sum(0) + sizes)
    return 1 - dice[sizes > 0].mean()


def pixel_kd_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return T² · KL(softmax(teacher / T) ‖ softmax(student / T)) along the classes, the mean over positions.

    The pixel-wise loss of Liu et al., "Structured Knowledge Distillation for Semantic Segmentation" (2019), equation 1.
    The factor T² keeps the gradient's size as T changes, as in Hinton et al. (2015).

    Args:
        student, teacher: logits (N, classes, H, W); the smaller ones are interpolated to the larger size.
        temperature: above 0.

    Raises:
        TrainingError: the temperature is not above 0.
    """
    POSITIVE.check(TrainingError, temperature=temperature)
    student, teacher = fitted(student, teacher), fitted(teacher, student)
    ours, exact = (F.log_softmax(full(each) / temperature, 1) for each in (student, teacher))
    return F.kl_div(ours, exact, reduction="none", log_target=True).sum(1).mean() * temperature**2


def divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Return KL(softmax(reference) ‖ softmax(logits)) along the classes, in nats, each sample's mean over positions.

    Args:
        logits, reference: (N, classes, H, W).

    Returns:
        (N,), at least 0 but for rounding.
    """
    ours, exact = (F.log_softmax(full(each), 1) for each in (logits, fitted(reference, logits)))
    return F.kl_div(ours, exact, reduction="none", log_target=True).sum(1).mean((1, 2))


def fitted(logits: Tensor, like: Tensor) -> Tensor:
    """Return logits (N, classes, H, W), interpolated to the size of ``like`` (N, ..., H, W) where they are smaller."""
    size = like.shape[-2:]
    if logits.shape[2] >= size[0] and logits.shape[3] >= size[1]:
        return logits
    return F.interpolate(full(logits), size=size, mode="bilinear", align_corners=False)


def _of_masks(logits: Tensor, classes: Tensor) -> Tensor:
    """Resize logits to the masks (N, H, W): a network that fills its images up may give larger ones."""
    if logits.shape[-2:] == classes.shape[-2:]:
        return logits
    return F.interpolate(full(logits), size=classes.shape[-2:], mode="bilinear", align_corners=False)


def must_be_logits(logits: Tensor, network: str) -> None:
    """Refuse outputs (N, classes, H, W) that are probabilities, since the losses apply the softmax themselves.

    Raises:
        ModelError: it names ``network``.
    """
    rows = logits.movedim(1, -1).flatten(0, -2)
    classes_of_samples.must_be_logits(rows[:: max(1, len(rows) // LOOKED_AT)], network)
