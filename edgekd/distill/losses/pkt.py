"""Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer" (ECCV 2018)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.geometry import embedding, inner_products, unit
from edgekd.distill.pairs import mean_over_pairs
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.precision import full
from edgekd.tasks.signature import Shape

FLOOR = 1e-7


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute KL(teacher ‖ student) of the probabilities with which samples of a batch are neighbours.

    The kernel is (1 + cosine) / 2, and a sample's probabilities are its kernels with the others over their sum. As in
    the paper the sample itself is left out; the authors' code and RepDistiller include it. The KL divergences of the N
    samples are summed and divided by N², as in that code, which RepDistiller's weight of 30000 belongs to.

    Args:
        student, teacher: (N, C), of any width each; maps (N, C, H, W) are averaged over their positions.

    Returns:
        A scalar, at least 0, in nats; 0 for batches of one or two.
    """
    own, reference = _log_probabilities(student), _log_probabilities(teacher)
    return F.kl_div(own, reference, reduction="sum", log_target=True) / len(student) ** 2


def _log_probabilities(x: Tensor) -> Tensor:
    cosines = inner_products(unit(embedding(full(x))))
    count = len(cosines)
    # The diagonal lies count + 1 apart. A mask would do, but makes every step wait for the GPU.
    others = cosines.flatten()[1:].view(count - 1, count + 1)[:, :-1].reshape(count, count - 1)
    # Opposite vectors have a kernel of 0, or below by rounding, which has no logarithm.
    return F.log_softmax(((1 + others) / 2).clamp(min=0).add(FLOOR).log(), dim=1)


@LOSSES.register("pkt")
class PKT(FeatureLoss):
    """Probabilistic knowledge transfer (:func:`pkt_loss`) of each pair.

    >>> loss = PKT([(64,)], [(128,)])([student], [teacher])  # doctest: +SKIP
    """

    weight = 30000.0

    @classmethod
    def default_layers(cls, shapes: Sequence[Shape]) -> list[int]:
        """Return the deepest layer."""
        return [len(shapes) - 1] if shapes else []

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        return mean_over_pairs(pkt_loss, student, teacher)
