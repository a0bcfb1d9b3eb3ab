"""Losses of a detector: against objects and against a teacher, in the one common form of heads' outputs."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.errors import ModelError, TrainingError
from edgekd.tasks.detection import outputs as heads
from edgekd.tasks.detection.targets import IGNORED
from edgekd.tasks.detection.train.assignment import TINY, assign
from edgekd.tasks.detection.train.bins import distribution_focal_loss, ld_loss
from edgekd.tasks.detection.train.heads import AnchorPoints, anchor_points, distributions, merged
from edgekd.tasks.multilabel.train import divergence as label_divergence

# How much boxes count beside scores; the ratio of Feng et al. (2021).
BOX_WEIGHT = 2.0
# The same of distributions over bins, of the mean over four sides; λ₁ of Li et al. (2020).
BINS_WEIGHT = 0.25
# Cross-entropy counts as the distance to the score that is learned, to this power: background is easy and much.
FOCUS = 2.0
# Boxes of a teacher that a student with other positions learns from, the surest ones of an image.
TEACHER_BOXES = 50
# A teacher's box teaches where its score is above this, and each side is at least LEAST_SIDE pixels. Where a
# teacher finds nothing its boxes may have no area, and the overlap of two such boxes has gradients that drown
# everything else.
LEAST_SCORE, LEAST_SIDE = 0.05, 1.0


def detection_loss(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], classes: int) -> dict[str, Tensor]:
    """Return the loss of ``scores`` and of ``boxes``, and of ``bins`` where sides are distributions.

    The quality focal loss (Li et al., "Generalized Focal Loss", 2020, equation 5) towards the scores that
    :func:`~edgekd.tasks.detection.train.assignment.assign` gives, and the generalised IoU loss of the positions that
    learn an object, and :func:`~edgekd.tasks.detection.train.bins.distribution_focal_loss` of their sides, all divided
    by the sum of these scores.

    Args:
        targets: ``boxes`` (N, M, 4), ``classes`` (N, M) with −1 for places without an object; ``crowd`` and
            ``difficult`` (N, M): what lies in these is neither object nor background; ``known`` (N,), False for images
            that nobody annotated.
    """
    common = merged(outputs, classes)
    where = anchor_points(outputs, common)
    kinds = targets["classes"]
    ignored = torch.zeros_like(kinds, dtype=torch.bool)
    for name in IGNORED:
        ignored = ignored | targets[name] if name in targets else ignored
    boxes = targets["boxes"].to(common.dtype)
    known = ~_within(where.middles, boxes, ignored & (kinds >= 0), len(common))
    if "known" in targets:
        known = known & targets["known"][:, None]
    return _loss(common, where, boxes, torch.where(ignored, -1, kinds), distributions(outputs), known=known)


def distillation_loss(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], classes: int, temperature: float = 1.0,
    box_temperature: float | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Return the loss of a student against a teacher's ``scores`` and ``boxes``, or ``bins`` in place of these.

    Where both have the same positions, the Kullback-Leibler divergence of each label's two probabilities and the
    generalised IoU loss, position by position. Positions are weighted by the teacher's best score there, since
    background would drown everything else, and boxes count only where the teacher finds something. Where they look
    elsewhere, the teacher's surest boxes are objects to learn, each as much as its score, as in :func:`detection_loss`.

    Args:
        temperature: above 0, divides the logits of both networks of the same positions, and the divergence is
            multiplied by its square; without effect where their positions differ, since there the loss has none.
        box_temperature: above 0; sides are then compared by their distributions over bins at this temperature, by
            :func:`~edgekd.tasks.detection.train.bins.ld_loss`, in place of boxes by the IoU.

    Raises:
        ModelError: distributions are to be compared, and the networks have none of as many bins at the same positions.
    """
    both = None if box_temperature is None else bins_of_both(student, teacher)
    ours, theirs = merged(student, classes), merged(teacher, classes).detach()
    weights, kinds = theirs[..., 4:].sigmoid().max(-1)
    is_found = (weights > LEAST_SCORE) & (theirs[..., 2:4] - theirs[..., :2] >= LEAST_SIDE).all(-1)
    if ours.shape == theirs.shape:
        total = weights.sum().clamp(min=1)
        apart = _divergence(ours[..., 4:] / temperature, theirs[..., 4:] / temperature) * temperature**2
        found = {"scores": (apart * weights).sum() / total}
        if both is not None and box_temperature is not None:
            far = ld_loss(*both, box_temperature).mean(-1) * is_found
            return {**found, "bins": BINS_WEIGHT * (far * weights).sum() / total}
        far = giou_loss(ours[..., :4], theirs[..., :4]) * is_found
        return {**found, "boxes": BOX_WEIGHT * (far * weights).sum() / total}
    sure, order = weights.topk(min(TEACHER_BOXES, weights.shape[1]), dim=1)
    objects = theirs[..., :4].gather(1, order[..., None].expand(-1, -1, 4))
    kinds = torch.where(is_found.gather(1, order), kinds.gather(1, order), -1)
    return _loss(ours, anchor_points(student, ours), objects, kinds, distributions(student), sure)


def bins_of_both(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the logits (N, positions, 4, bins) of the sides of a student's and a teacher's boxes.

    Raises:
        ModelError: not both have distributions, of as many bins at the same positions.
    """
    ours, theirs = distributions(student), distributions(teacher)
    if ours is None or theirs is None or ours.shape != theirs.shape:
        raise ModelError(
            f"the student gives {_sides(student)}, and the teacher {_sides(teacher)}; distributions of boxes are "
            "compared where both give maps 'bins.8' of one shape: build both with the same bins and strides, or "
            "compare boxes by their overlap (kd)"
        )
    return ours, theirs.detach()


def divergence(outputs: Mapping[str, Tensor], reference: Mapping[str, Tensor], classes: int) -> Tensor:
    """Return how far each image's scores and boxes are from the reference's: (N,), at least 0 but for rounding.

    The mean over positions, weighted by the reference's best score there, of the divergence of labels in nats plus one
    minus the boxes' overlap.
    """
    ours, exact = merged(outputs, classes), merged(reference, classes)
    weights = exact[..., 4:].sigmoid().amax(-1)
    apart = _divergence(ours[..., 4:], exact[..., 4:]) + giou_loss(ours[..., :4], exact[..., :4])
    return (apart * weights).sum(1) / weights.sum(1).clamp(min=TINY)


def giou_loss(boxes: Tensor, objects: Tensor) -> Tensor:
    """Return 1 − the generalised IoU of boxes (..., 4) and objects (..., 4): (...), in [0, 2].

    Rezatofighi et al., "Generalized Intersection over Union" (2019), algorithm 1.
    """
    sides = torch.minimum(boxes[..., 2:], objects[..., 2:]) - torch.maximum(boxes[..., :2], objects[..., :2])
    shared = sides.clamp(min=0).prod(-1)
    own, their = ((each[..., 2:] - each[..., :2]).clamp(min=0).prod(-1) for each in (boxes, objects))
    union = own + their - shared
    hull = torch.maximum(boxes[..., 2:], objects[..., 2:]) - torch.minimum(boxes[..., :2], objects[..., :2])
    around = hull.clamp(min=0).prod(-1)
    return 1 - (shared + TINY) / (union + TINY) + (around - union) / (around + TINY)


def must_be_logits(common: Tensor, network: str) -> None:
    """Refuse scores that are probabilities, since the losses apply the sigmoid themselves: ModelError."""
    scores = common[common.isfinite().flatten(1).all(1)][..., 4:]
    if scores.numel() and bool(((scores >= 0) & (scores <= 1)).all()) and bool((scores != scores[..., :1, :1]).any()):
        raise ModelError(
            f"{network} gives scores between 0 and 1 for every input, as after a sigmoid; the losses apply the sigmoid "
            "themselves: return the logits, the values before it"
        )


def must_not_smooth(label_smoothing: float) -> None:
    """Refuse a smoothing: the scores that are learned say already how well boxes fit: TrainingError."""
    if label_smoothing:
        raise TrainingError(
            f"label_smoothing is {label_smoothing:g}, and a detector learns scores by how well its boxes fit: leave it "
            "out"
        )


def _loss(
    common: Tensor, where: AnchorPoints, objects: Tensor, kinds: Tensor, bins: Tensor | None,
    sure: Tensor | None = None, known: Tensor | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    boxes, logits = common[..., :4], common[..., 4:]
    learned = assign(boxes, logits.sigmoid(), where.middles, where.reach, objects, kinds, sure)
    total = learned.weights.sum().clamp(min=1)
    surprise = (learned.scores - logits.detach().sigmoid()).abs().pow(FOCUS)
    apart = (F.binary_cross_entropy_with_logits(logits, learned.scores, reduction="none") * surprise).sum(-1)
    if known is not None:
        apart = apart * (known | (learned.weights > 0))
    far = giou_loss(boxes, learned.boxes) * learned.weights
    found = {"scores": apart.sum() / total, "boxes": BOX_WEIGHT * far.sum() / total}
    if bins is not None:
        low, high = learned.boxes[..., :2], learned.boxes[..., 2:]
        sides = torch.cat([where.middles - low, high - where.middles], -1) / where.reach[:, None]
        wrong = distribution_focal_loss(bins, sides).mean(-1) * learned.weights
        found["bins"] = BINS_WEIGHT * wrong.sum() / total
    return found


def _sides(outputs: Mapping[str, Tensor]) -> str:
    shapes = {name: "x".join(map(str, each.shape[1:])) for name, each in outputs.items()}
    return ", ".join(f"{name!r} ({shape})" for name, shape in shapes.items() if not heads.has_scores(name))


def _divergence(logits: Tensor, reference: Tensor) -> Tensor:
    return label_divergence(logits.flatten(0, 1), reference.flatten(0, 1)).view(logits.shape[:2])


def _within(middles: Tensor, boxes: Tensor, which: Tensor, n: int) -> Tensor:
    points = middles.expand(n, -1, 2)[:, None]
    inside = ((points > boxes[:, :, None, :2]) & (points < boxes[:, :, None, 2:])).all(-1)
    return (inside & which[..., None]).any(1)
