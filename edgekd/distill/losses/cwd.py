"""Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction" (ICCV 2021)."""

from collections.abc import Sequence

from torch import Tensor, nn

from edgekd.distill.adapters import Adapter
from edgekd.distill.losses.options import check_temperature
from edgekd.distill.pairs import mean_over_pairs
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.errors import TrainingError
from edgekd.tasks.segmentation.train import cwd_loss
from edgekd.tasks.signature import Shape

__all__ = ["CWD", "cwd_loss"]


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
