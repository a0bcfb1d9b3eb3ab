"""Park et al., "Relational Knowledge Distillation" (CVPR 2019), sections 3.2.1 and 3.2.2."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.geometry import embedding, inner_products, unit
from edgekd.distill.pairs import mean_over_pairs
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.errors import TrainingError
from edgekd.precision import full
from edgekd.tasks.signature import Shape


def rkd_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute Huber's loss (δ = 1) of ‖x_i − x_j‖ / μ between student and teacher.

    μ is the mean of a batch's distances above 0. The loss is the mean over all N² pairs, as in the authors' code, where
    the paper has the sum; a sample's distance to itself adds nothing.

    Args:
        student, teacher: (N, C), of any width each; maps (N, C, H, W) are averaged over their positions, since the
            paper compares embeddings.

    Returns:
        A scalar, at least 0; 0 for a batch of one.
    """
    return F.smooth_l1_loss(_distances(student), _distances(teacher))


def rkd_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute Huber's loss (δ = 1) of the cosine of the angle x_i, x_j, x_k, at x_j, between student and teacher.

    It is the mean over all N³ triples, as in the authors' code, where the paper has the sum over distinct ones; the
    others add nothing. It needs memory for N² · C + N³ numbers of each network.

    Args:
        student, teacher: as for :func:`rkd_distance_loss`.

    Returns:
        A scalar in [0, 1.5].
    """
    return F.smooth_l1_loss(_cosines(student), _cosines(teacher))


def _distances(x: Tensor) -> Tensor:
    points = embedding(full(x))
    # Distances from inner products cancel for near points, and would not be 0 for equal ones.
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.sum() / (distances > 0).sum().clamp(min=1)
    return distances / mean.masked_fill(mean == 0, 1)


def _cosines(x: Tensor) -> Tensor:
    points = embedding(full(x))
    return inner_products(unit(points[None] - points[:, None]))


@LOSSES.register("rkd")
class RKD(FeatureLoss):
    """``distance_weight`` · :func:`rkd_distance_loss` + ``angle_weight`` · :func:`rkd_angle_loss` of each pair.

    Args:
        distance_weight, angle_weight: at least 0, not both 0; the paper's for classification are 25 and 50.

    Raises:
        TrainingError: a weight is below 0 or not finite, or both are 0.

    >>> loss = RKD([(64,)], [(128,)])([student], [teacher])  # doctest: +SKIP
    """

    def __init__(
        self,
        student_shapes: Sequence[Shape],
        teacher_shapes: Sequence[Shape],
        *,
        samples: int = 0,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
    ):
        super().__init__(student_shapes, teacher_shapes, samples=samples)
        if not (0 <= distance_weight < float("inf") and 0 <= angle_weight < float("inf")) or (
            distance_weight == angle_weight == 0
        ):
            raise TrainingError(
                f"rkd's weights must be at least 0 and not both 0, and are {distance_weight} of distances and "
                f"{angle_weight} of angles: the paper's are 25 and 50"
            )
        self.distance_weight, self.angle_weight = distance_weight, angle_weight

    @classmethod
    def default_layers(cls, shapes: Sequence[Shape]) -> list[int]:
        """Return the deepest layer."""
        return [len(shapes) - 1] if shapes else []

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        return mean_over_pairs(self._weighted, student, teacher)

    def _weighted(self, student: Tensor, teacher: Tensor) -> Tensor:
        terms = ((self.distance_weight, rkd_distance_loss), (self.angle_weight, rkd_angle_loss))
        return torch.stack([weight * loss(student, teacher) for weight, loss in terms if weight]).sum()
