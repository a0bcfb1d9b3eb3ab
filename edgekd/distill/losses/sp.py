"""Tung and Mori, "Similarity-Preserving Knowledge Distillation" (ICCV 2019)."""

from collections.abc import Sequence

from torch import Tensor

from edgekd.distill.geometry import inner_products, unit
from edgekd.distill.pairs import mean_over_pairs
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.precision import full
from edgekd.tasks.signature import Shape


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute ‖G_T − G_S‖²_F / N², where G are the inner products of a batch's flattened features, in rows of norm 1.

    It is small where both networks find the same samples similar; shapes may differ. RepDistiller's weight of 3000
    belongs to batches of 64.

    Args:
        student, teacher: (N, ...); the loss of a batch of one is 0.

    Returns:
        A scalar in [0, 4 / N].
    """
    return (_similarities(student) - _similarities(teacher)).square().mean()


def _similarities(x: Tensor) -> Tensor:
    return unit(inner_products(full(x).flatten(1)))


@LOSSES.register("sp")
class SP(FeatureLoss):
    """Similarity-preserving distillation (:func:`sp_loss`) of each pair.

    >>> loss = SP([(16, 8, 8)], [(64, 4, 4)])([student], [teacher])  # doctest: +SKIP
    """

    weight = 3000.0

    @classmethod
    def default_layers(cls, shapes: Sequence[Shape]) -> list[int]:
        """Return the deepest map, as in RepDistiller."""
        return super().default_layers(shapes)[-1:]

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        return mean_over_pairs(sp_loss, student, teacher)
