"""Which positions of a detector learn which object: task-aligned assignment.

Feng et al., "TOOD: Task-aligned One-stage Object Detection" (2021), section 3.2: the positions whose score and box fit
an object best learn it, and the better they fit, the higher the score that they learn.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Equation 6: the score to the power of ALPHA times the overlap to the power of BETA. AnchorPoints of each object.
ALPHA, BETA, POSITIONS = 0.5, 6.0, 9
TINY = 1e-9


class Assigned(NamedTuple):
    """Targets of positions.

    Attributes:
        scores: (N, P, classes) in [0, 1], the scores to learn; 0 where there is no object.
        boxes: (N, P, 4), the box to learn, of any value where there is none.
        weights: (N, P), how much the box counts; 0 where there is none.
    """

    scores: Tensor
    boxes: Tensor
    weights: Tensor


def pairwise_iou(boxes: Tensor, objects: Tensor) -> Tensor:
    """Return the overlap of objects (N, M, 4) with boxes (N, P, 4), corners: (N, M, P)."""
    ours, theirs = boxes[:, None], objects[:, :, None]
    sides = torch.minimum(ours[..., 2:], theirs[..., 2:]) - torch.maximum(ours[..., :2], theirs[..., :2])
    shared = sides.clamp(min=0).prod(-1)
    own, their = ((each[..., 2:] - each[..., :2]).clamp(min=0).prod(-1) for each in (ours, theirs))
    return shared / (own + their - shared + TINY)


@torch.no_grad()
def assign(
    boxes: Tensor, scores: Tensor, middles: Tensor, reach: Tensor, objects: Tensor, classes: Tensor,
    sure: Tensor | None = None,
) -> Assigned:  # fmt: skip
    """Return what each position learns.

    Args:
        boxes: (N, P, 4), the corners that the network finds in pixels.
        scores: (N, P, classes), its probabilities.
        middles: (P, 2) or (N, P, 2), where positions lie in pixels; those within an object may learn it, and those
            nearer to its middle than their ``reach`` (P,), in pixels, so that none is missed.
        objects: (N, M, 4), corners in pixels.
        classes: (N, M), −1 where there is no object.
        sure: (N, M) in [0, 1], the score that an object is worth; 1 if left out.
    """
    there, kinds = classes >= 0, classes.clamp(min=0)
    centre = (objects[..., :2] + objects[..., 2:]) / 2
    points = middles.expand(len(boxes), -1, 2)[:, None]
    within = ((points > objects[:, :, None, :2]) & (points < objects[:, :, None, 2:])).all(-1)
    close = (points - centre[:, :, None]).abs().amax(-1) < reach
    able = (within | close) & there[..., None]
    overlap = pairwise_iou(boxes, objects) * able
    chances = scores.transpose(1, 2).gather(1, kinds[..., None].expand(-1, -1, scores.shape[1]))
    fit = chances.clamp(min=TINY).pow(ALPHA) * overlap.clamp(min=TINY).pow(BETA) * able
    most = min(POSITIONS, fit.shape[2])
    chosen = torch.zeros_like(able).scatter_(2, fit.topk(most, dim=2).indices, True) & able
    # A position that several objects want learns the one that it overlaps most.
    winner = torch.where(chosen, overlap + TINY, 0.0)
    best, owner = winner.max(1)
    learns = best > 0
    fit = fit * (chosen & (owner[:, None] == torch.arange(fit.shape[1], device=fit.device)[None, :, None]))
    best_fit = fit.amax(2, keepdim=True)
    worth = fit / torch.where(best_fit > 0, best_fit, 1.0) * (overlap * (fit > 0)).amax(2, keepdim=True)
    if sure is not None:
        worth = worth * sure[..., None]
    weights = worth.gather(1, owner[:, None])[:, 0] * learns
    kind = kinds.gather(1, owner)
    learned = torch.zeros_like(scores).scatter_(2, kind[..., None], weights[..., None].to(scores.dtype))
    return Assigned(learned, objects.gather(1, owner[..., None].expand(-1, -1, 4)), weights)
