"""Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction" (ICCV 2021)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.distill.adapters import Adapter
from edgekd.distill.losses.options import check_temperature
from edgekd.distill.pairs import mean_over_pairs
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.errors import TrainingError
from edgekd.precision import full
from edgekd.tasks.segmentation.train import fitted
from edgekd.tasks.signature import Shape


def cwd_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Return T² / C · Σ KL(φ(teacher) ‖ φ(student)) over C channels, averaged over the batch (equations 2 and 3).

    φ is the softmax of a channel at temperature T over its positions, so that the student learns where each channel is
    strong.

    Args:
        student, teacher: (N, C, H, W), logits or features; the smaller ones are interpolated to the larger size.
        temperature: above 0; the paper takes 4.

    Returns:
        A scalar in nats, at least 0 but for rounding.

    Raises:
        TrainingError: the temperature is not above 0.
    """
    check_temperature(temperature)
    student, teacher = fitted(student, teacher), fitted(teacher, student)
    ours, exact = (F.log_softmax(full(each).flatten(2) / temperature, 2) for each in (student, teacher))
    by_channel = F.kl_div(ours, exact, reduction="none", log_target=True).sum(2)
    return by_channel.mean() * temperature**2


@LOSSES.register("cwd")
class CWD(FeatureLoss):
    """Channel-wise distillation (:func:`cwd_loss`) of each pair; of two last layers, it is one of their logits.

    A student's features of other channels than the teacher's go through a trained 1x1 convolution, as in the paper.

    Raises:
        TrainingError: a pair is not of maps of more than one position, or the temperature is not above 0.

    >>> loss = CWD([(16, 8, 8)], [(64, 8, 8)])([student], [teacher])  # doctest: +SKIP
    """

    def __init__(
        self,
        student_shapes: Sequence[Shape],
        teacher_shapes: Sequence[Shape],
        *,
        samples: int = 0,
        temperature: float = 4.0,
    ):
        super().__init__(student_shapes, teacher_shapes, samples=samples)
        check_temperature(temperature)
        self.temperature = temperature
        for own, reference in zip(student_shapes, teacher_shapes, strict=True):
            if len(own) != 3 or len(reference) != 3 or 1 in (own[1] * own[2], reference[1] * reference[2]):
                raise TrainingError(
                    f"a channel is spread over the positions of a map, and of the shapes {own} of the student and "
                    f"{reference} of the teacher not both are maps (C, H, W) of more than one: choose layers before "
                    "the pooling"
                )
        pairs = zip(student_shapes, teacher_shapes, strict=True)
        self.adapters = nn.ModuleList(
            nn.Identity() if own[0] == reference[0] else Adapter(own, reference) for own, reference in pairs
        )

    @classmethod
    def default_layers(cls, shapes: Sequence[Shape]) -> list[int]:
        """Return the deepest map of more than one position."""
        return [index for index in super().default_layers(shapes) if shapes[index][1] * shapes[index][2] > 1][-1:]

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        adapted = [adapter(each) for adapter, each in zip(self.adapters, student, strict=True)]
        return mean_over_pairs(lambda own, reference: cwd_loss(own, reference, self.temperature), adapted, teacher)
