"""Zagoruyko and Komodakis, "Paying More Attention to Attention" (ICLR 2017), section 3.1."""

from collections.abc import Sequence

from torch import Tensor

from edgekd.distill.adapters import match_sizes
from edgekd.distill.geometry import unit
from edgekd.distill.pairs import mean_over_pairs
from edgekd.distill.registry import LOSSES, FeatureLoss, Shape
from edgekd.errors import TrainingError
from edgekd.precision import full


def at_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Of two attention maps, Q = Σ A² over channels, each at an L2 norm of 1: the mean of (Q_S − Q_T)² over places.

    Equation 2 has the norm of the difference. The mean of its square is what the authors' code and RepDistiller have,
    what their weight of 1000 belongs to, and it has a gradient also where both are equal. A map of zeros has no
    attention anywhere.

    Args:
        student, teacher: (N, C, H, W), of any channels each; where sizes differ, attention (not the features) is
            averaged down to the smaller one.

    Returns:
        A scalar in [0, 2 / places]: attention is not negative, so the squares of a sample add up to 2 at most.
    """
    ours, theirs = match_sizes(_attention(student), _attention(teacher))
    return (unit(ours.flatten(1)) - unit(theirs.flatten(1))).square().mean()


def _attention(x: Tensor) -> Tensor:
    return full(x).square().mean(1, keepdim=True)


@LOSSES.register("at")
class AT(FeatureLoss):
    """:func:`at_loss` of each pair.

    Raises:
        TrainingError: a pair is not of maps, or has a single place to look at.

    >>> loss = AT([(16, 8, 8)], [(64, 8, 8)])([student], [teacher])  # doctest: +SKIP
    """

    weight = 1000.0

    def __init__(self, student_shapes: Sequence[Shape], teacher_shapes: Sequence[Shape], *, samples: int = 0):
        super().__init__(student_shapes, teacher_shapes, samples=samples)
        for ours, theirs in zip(student_shapes, teacher_shapes, strict=True):
            if len(ours) != 3 or len(theirs) != 3 or min(ours[1], theirs[1]) * min(ours[2], theirs[2]) == 1:
                raise TrainingError(
                    f"attention is spread over the places of a map, and of the shapes {ours} of the student and "
                    f"{theirs} of the teacher not both are maps (C, H, W) of more than one: tap layers before the "
                    "pooling"
                )

    @classmethod
    def usual(cls, shapes: Sequence[Shape]) -> list[int]:
        """All maps of more than one place."""
        return [place for place in super().usual(shapes) if shapes[place][1] * shapes[place][2] > 1]

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        return mean_over_pairs(at_loss, student, teacher)
