"""Sides of boxes as distributions over bins: their means, and the losses that learn them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.errors import TrainingError
from edgekd.precision import full
from edgekd.ranges import POSITIVE
from edgekd.tasks.detection.outputs import bins_of


def by_position(maps: Tensor) -> Tensor:
    """Return the logits (N, H · W, 4, bins) of maps (N, 4 · bins, H, W): left, top, right and bottom.

    Raises:
        ModelError: there are other channels.
    """
    return maps.unflatten(1, (4, bins_of(maps.shape[1]))).flatten(3).permute(0, 3, 1, 2)


def mean_distances(logits: Tensor) -> Tensor:
    """Return the mean (...) of distributions over the distances 0, 1, 2, ... whose logits are (..., bins).

    Li et al., "Generalized Focal Loss" (2020), equation 5.
    """
    places = torch.arange(logits.shape[-1], dtype=logits.dtype, device=logits.device)
    return (logits.softmax(-1) * places).sum(-1)


def distribution_focal_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Return −((i + 1 − y) · log p(i) + (y − i) · log p(i + 1)) of the distance y between the bins i and i + 1.

    Li et al., "Generalized Focal Loss" (2020), equation 6: the distribution is to be near y alone, and its mean y.

    Args:
        logits: (..., bins).
        distances: (...), in bins; one beyond the first or the last bin is taken to be there.

    Returns:
        (...), in nats, at least 0.
    """
    last, log = logits.shape[-1] - 1, full(logits).log_softmax(-1)
    places = distances.clamp(0, last)
    below = places.floor().clamp(max=last - 1)
    share = places - below
    near, far = (log.gather(-1, each.long()[..., None])[..., 0] for each in (below, below + 1))
    return -((1 - share) * near + share * far)


def ld_loss(student: Tensor, teacher: Tensor, temperature: float = 10.0) -> Tensor:
    """Return T² · KL(teacher ‖ student) of distributions over bins at the temperature T.

    Zheng et al., "Localization Distillation for Dense Object Detection" (2022), arXiv 2102.12252, section 3, of each
    side. T² keeps the size of gradients as T changes, as in their code.

    Args:
        student, teacher: logits (..., bins).
        temperature: above 0; the paper takes 10.

    Returns:
        (...), in nats, at least 0 but for rounding.

    Raises:
        TrainingError: the temperature is not above 0.
    """
    POSITIVE.check(TrainingError, temperature=temperature)
    ours, exact = (F.log_softmax(full(each) / temperature, -1) for each in (student, teacher))
    return F.kl_div(ours, exact, reduction="none", log_target=True).sum(-1) * temperature**2
