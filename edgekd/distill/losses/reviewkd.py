"""Chen et al., "Distilling Knowledge via Knowledge Review" (CVPR 2021)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.distill.losses.fusion import ABF
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.errors import TrainingError
from edgekd.precision import full
from edgekd.tasks.signature import Shape

LEVELS = (4, 2, 1)
WIDEST = 512


def hcl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the hierarchical context loss of section 3: squared errors of the maps and of pooled maps.

    The mean squared error at full size has weight 1. After average pooling to 4×4, 2×2 and 1×1 each has half the weight
    of the one before, and the sum is divided by the sum of the weights. Levels that are not smaller than both sides of
    the map are skipped.

    Args:
        student, teacher: (N, C, H, W), or (N, C) for maps of 1×1.

    Returns:
        A scalar, at least 0: d² where the two differ by d everywhere.

    Raises:
        TrainingError: the shapes differ.
    """
    if student.shape != teacher.shape:
        raise TrainingError(
            f"the student's features have shape {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}: "
            "adapt one to the other first, as ReviewKD does"
        )
    student, teacher = _as_map(full(student)), _as_map(full(teacher))
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for level in LEVELS:
        if level >= min(student.shape[2:]):
            continue
        weight /= 2
        total += weight
        own, reference = (F.adaptive_avg_pool2d(x, level) for x in (student, teacher))
        loss = loss + weight * F.mse_loss(own, reference)
    return loss / total


@LOSSES.register("reviewkd")
class ReviewKD(FeatureLoss):
    """The :func:`hcl_loss` of each of the teacher's maps and the student's maps at that level and all deeper ones.

    From the deepest level up, :class:`~edgekd.distill.losses.fusion.ABF` fuses the deeper levels with the student's map
    of the level. The levels' losses are added up, as in the paper.

    Args:
        mid_channels: channels of the fused maps; if left out those of the student's deepest level, at most 512.

    Raises:
        TrainingError: a pair is of a map and a vector, or of neither; on a call, BatchNorm has a single value.

    >>> loss = ReviewKD([(16, 32, 32), (64,)], [(64, 32, 32), (256,)])
    >>> loss(student_features, teacher_features)  # doctest: +SKIP
    """

    def __init__(
        self,
        student_shapes: Sequence[Shape],
        teacher_shapes: Sequence[Shape],
        *,
        samples: int = 0,
        mid_channels: int | None = None,
    ):
        super().__init__(student_shapes, teacher_shapes, samples=samples)
        for student, teacher in zip(self.student_shapes, self.teacher_shapes, strict=True):
            _check_pair(student, teacher)
        if mid_channels is not None and not (isinstance(mid_channels, int) and mid_channels > 0):
            raise TrainingError(
                f"reviewkd's mid_channels must be a whole number of at least 1, got {mid_channels!r}: leave it out for "
                "the channels of the student's deepest level"
            )
        mid_channels = mid_channels or min(WIDEST, self.student_shapes[-1][0])
        deepest = len(self.student_shapes) - 1
        self.fusions = nn.ModuleList(
            ABF(student[0], mid_channels, teacher[0], fuse=level < deepest)
            for level, (student, teacher) in enumerate(zip(self.student_shapes, self.teacher_shapes, strict=True))
        )

    @classmethod
    def default_layers(cls, shapes: Sequence[Shape]) -> list[int]:
        """Return all maps and vectors."""
        return [index for index, shape in enumerate(shapes) if len(shape) in (1, 3)]

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        self._check_batch(len(student[0]))
        losses: list[Tensor] = []
        mixed: Tensor | None = None
        for fusion, own, reference in reversed(list(zip(self.fusions, student, teacher, strict=True))):
            target = _as_map(full(reference))
            reviewed, mixed = fusion(_as_map(full(own)), mixed, target.shape[2:])
            losses.append(hcl_loss(reviewed, target))
        return sum(losses[1:], start=losses[0])

    def _check_batch(self, count: int) -> None:
        smallest = min(_area(shape) for shape in (*self.student_shapes, *self.teacher_shapes))
        if self.training and count == 1 and smallest == 1:
            raise TrainingError(
                "reviewkd normalises over the batch, and a batch of one sample has nothing to normalise over at a "
                "level of 1×1: set batch_size to 2 at least"
            )


def _check_pair(student: Shape, teacher: Shape) -> None:
    for shape in (student, teacher):
        if len(shape) not in (1, 3):
            raise TrainingError(f"reviewkd compares maps (C, H, W) and vectors (C,), not {shape}: choose another layer")
    if len(student) != len(teacher) and max(_area(student), _area(teacher)) > 1:
        raise TrainingError(
            f"reviewkd cannot compare the student's {student} with the teacher's {teacher}: "
            "choose a map of both or a vector of both"
        )


def _area(shape: Shape) -> int:
    return shape[1] * shape[2] if len(shape) == 3 else 1


def _as_map(x: Tensor) -> Tensor:
    return x[:, :, None, None] if x.ndim == 2 else x
