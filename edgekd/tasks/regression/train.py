"""Losses of a network that predicts standardised values or heat maps of points: on targets and against a teacher."""

import math

import torch
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


def gaussian_maps(places: Tensor, size: tuple[int, int], image: tuple[int, int], sigma: float) -> Tensor:
    """Return exp(−d² / 2 σ²), d the distance in cells of each cell's middle from the place: (N, points, h, w).

    Centres are not rounded to cells: Zhang et al., "Distribution-Aware Coordinate Representation" (2020), section 3.2.

    Args:
        places: (N, points, 2), x and y in pixels.
        size: h and w, in cells.
        image: height and width in pixels, which the cells cover.
        sigma: in cells.
    """
    along = []
    for axis, (cells, pixels) in enumerate(zip(reversed(size), reversed(image), strict=True)):
        middles = torch.arange(cells, device=places.device, dtype=places.dtype) + 0.5
        along.append((middles - places[..., axis, None] * (cells / pixels)).square())
    return torch.exp((along[1][..., :, None] + along[0][..., None, :]) / (-2 * sigma**2))


def map_distances(ours: Tensor, theirs: Tensor, sigma: float) -> Tensor:
    """Return Σ (ours − theirs)² / π σ² over the cells of each map: (N, points).

    A map of zeros is at 1 from a Gaussian of deviation σ that lies inside of it. Gaussians that are d cells apart, d
    well below σ, are at d² / 2 σ², the KL divergence, in nats, of normal distributions that lie so.

    Args:
        ours, theirs: (N, points, h, w).
        sigma: of the Gaussians that were learned, in cells, above 0.
    """
    return (full(ours) - full(theirs)).square().sum((2, 3)) / (math.pi * sigma**2)


def heatmap_loss(maps: Tensor, places: Tensor, known: Tensor, image: tuple[int, int], sigma: float) -> Tensor:
    """Return the mean over known points of :func:`map_distances` from the maps of :func:`gaussian_maps`; 0 if none is.

    The mean squared error of Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation and Tracking" (2018),
    section 2, in another unit: it does not depend on the maps' size. Its curvature does, so that AdamW learns at the
    usual rates, and SGD at rates that are smaller the more cells there are.

    Args:
        maps: (N, points, h, w).
        places: (N, points, 2), x and y in pixels, NaN where not known.
        known: (N, points).
        image: height and width in pixels, which the maps cover.
        sigma: in cells, above 0.
    """
    if not known.any():
        return 0 * full(maps).sum()
    wanted = gaussian_maps(full(places[known])[:, None], (maps.shape[2], maps.shape[3]), image, sigma)
    return map_distances(maps[known][:, None], wanted, sigma).mean()


def must_not_smooth(label_smoothing: float) -> None:
    """Refuse a smoothing, which values do not have: TrainingError."""
    if label_smoothing:
        raise TrainingError(f"label_smoothing is {label_smoothing:g}, and the targets are numbers: leave it out")
