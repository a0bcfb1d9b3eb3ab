"""Zagoruyko and Komodakis, "Paying More Attention to Attention" (ICLR 2017), section 3.1."""

from collections.abc import Sequence

from torch import Tensor

from edgekd.distill.adapters import match_sizes
from edgekd.distill.geometry import unit
from edgekd.distill.pairs import mean_over_pairs
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.errors import TrainingError
from edgekd.precision import full
from edgekd.tasks.signature import Shape


def at_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the mean of (Q_S − Q_T)² over the positions of attention maps Q = Σ A² over channels, each of L2 norm 1.

    Equation 2 has the norm of the difference. The mean of its square is used by the authors' code and RepDistiller; it
    is what their weight of 1000 belongs to, and has a gradient also where both are equal. The attention of a map of
    zeros is zero.

    Args:
        student, teacher: (N, C, H, W), of any channels each; where sizes differ, attention (not the features) is
            averaged down to the smaller one.

    Returns:
        A scalar in [0, 2 / positions]: attention is not negative, so the squares of a sample add up to 2 at most.
    """
    own, reference = match_sizes(_attention(student), _attention(teacher))
    return (unit(own.flatten(1)) - unit(reference.flatten(1))).square().mean()


def _attention(x: Tensor) -> Tensor:
    return full(x).square().mean(1, keepdim=True)


@LOSSES.register("at")
class AT(FeatureLoss):
    """Attention transfer (:func:`at_loss`) of each pair.

    Raises:
        TrainingError: a pair is not of maps, or of maps with a single position.

    >>> loss = AT([(16, 8, 8)], [(64, 8, 8)])([student], [teacher])  # doctest: +SKIP
    """

    weight = 1000.0

    def __init__(self, student_shapes: Sequence[Shape], teacher_shapes: Sequence[Shape], *, samples: int = 0):
        super().__init__(student_shapes, teacher_shapes, samples=samples)
        for own, reference in zip(student_shapes, teacher_shapes, strict=True):
            if len(own) != 3 or len(reference) != 3 or min(own[1], reference[1]) * min(own[2], reference[2]) == 1:
                raise TrainingError(
                    f"attention is spread over the positions of a map, and of the shapes {own} of the student and "
                    f"{reference} of the teacher not both are maps (C, H, W) of more than one: choose layers before "
                    "the pooling"
                )

    @classmethod
    def default_layers(cls, shapes: Sequence[Shape]) -> list[int]:
        """Return all maps of more than one position."""
        return [index for index in super().default_layers(shapes) if shapes[index][1] * shapes[index][2] > 1]

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        return mean_over_pairs(at_loss, student, teacher)
