"""Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient" (2022)."""

from collections.abc import Sequence

from torch import Tensor, nn

from edgekd.distill.adapters import Adapter, match_sizes
from edgekd.distill.pairs import mean_over_pairs
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.precision import full
from edgekd.tasks.signature import Shape

# Added to variances, so that a channel that is the same everywhere has no infinite gradient.
TINY = 1e-6


def pkd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the mean over channels of 1 − r, where r is Pearson's correlation of a channel in both networks.

    Half the mean squared difference of channels that are normalised to mean 0 and deviation 1 over batch and positions
    (section 3.2, equations 3 and 4). How large features are does not count, so that teacher and student may be of
    different families; a channel that does not change has a correlation of 0.

    Args:
        student, teacher: (N, C, H, W) or (N, C) of equal channels; maps of other sizes are pooled to the smaller one.

    Returns:
        A scalar in [0, 2].
    """
    student, teacher = match_sizes(full(student), full(teacher))
    return (1 - (_normalised(student) * _normalised(teacher)).mean(1)).mean()


def _normalised(x: Tensor) -> Tensor:
    channels = x.transpose(0, 1).flatten(1)
    centred = channels - channels.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + TINY).sqrt()


@LOSSES.register("pkd")
class PKD(FeatureLoss):
    """The loss (:func:`pkd_loss`) of each pair of maps, such as the levels of two pyramids.

    Maps of other widths than the teacher's pass an :class:`Adapter`; the paper has none for equal ones.

    >>> loss = PKD([(32, 8, 8)], [(64, 8, 8)])([student], [teacher])  # doctest: +SKIP
    """

    weight = 6.0

    def __init__(self, student_shapes: Sequence[Shape], teacher_shapes: Sequence[Shape], *, samples: int = 0):
        super().__init__(student_shapes, teacher_shapes, samples=samples)
        self.adapters = nn.ModuleList(
            nn.Identity() if student[0] == teacher[0] else Adapter(student, teacher)
            for student, teacher in zip(student_shapes, teacher_shapes, strict=True)
        )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        adapted = [adapter(features) for adapter, features in zip(self.adapters, student, strict=False)]
        return mean_over_pairs(pkd_loss, adapted, teacher)
