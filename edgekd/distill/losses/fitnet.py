"""Romero et al., "FitNets: Hints for Thin Deep Nets" (ICLR 2015)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.distill.adapters import Adapter, match_sizes
from edgekd.distill.pairs import mean_over_pairs
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.precision import full
from edgekd.tasks.signature import Shape


def fitnet_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute (student − teacher)², averaged over all entries; equation 3 has half of the sum over a sample's.

    RepDistiller has the mean, which its weight of 100 belongs to.

    Args:
        student, teacher: (N, C, H, W) or (N, C) of equal channels; maps of other sizes are pooled to the smaller one.

    Returns:
        A scalar, at least 0.
    """
    student, teacher = match_sizes(full(student), full(teacher))
    return F.mse_loss(student, teacher)


@LOSSES.register("fitnet")
class FitNet(FeatureLoss):
    """The hint loss (:func:`fitnet_loss`) of the student's features behind an :class:`Adapter` for each pair.

    Equal shapes have an adapter too, as in RepDistiller, since channels of two networks do not correspond.

    >>> loss = FitNet([(16, 8, 8)], [(64, 8, 8)])([student], [teacher])  # doctest: +SKIP
    """

    weight = 100.0

    def __init__(self, student_shapes: Sequence[Shape], teacher_shapes: Sequence[Shape], *, samples: int = 0):
        super().__init__(student_shapes, teacher_shapes, samples=samples)
        shapes = zip(student_shapes, teacher_shapes, strict=True)
        self.adapters = nn.ModuleList(Adapter(student, teacher) for student, teacher in shapes)

    @classmethod
    def default_layers(cls, shapes: Sequence[Shape]) -> list[int]:
        """Return the map in the middle, as in the paper."""
        maps = super().default_layers(shapes)
        return maps[(len(maps) - 1) // 2 :][:1]

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        adapted = [adapter(features) for adapter, features in zip(self.adapters, student, strict=False)]
        return mean_over_pairs(fitnet_loss, adapted, teacher)
