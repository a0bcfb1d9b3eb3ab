"""Tian, Krishnan and Isola, "Contrastive Representation Distillation" (ICLR 2020), section 3.1."""

import math
from collections.abc import Sequence
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgekd.distill.geometry import embedding, unit
from edgekd.distill.losses.memory import MemoryBank, draw_negatives
from edgekd.distill.registry import LOSSES, FeatureLoss
from edgekd.errors import TrainingError
from edgekd.precision import full
from edgekd.tasks.signature import Shape
from edgekd.train import distributed


def nce_loss(
    positive: Tensor, negative: Tensor, samples: int, log_z: Tensor | float = 0.0, tau: float = 0.07
) -> Tensor:
    """Compute −log h(positive) − Σ log(1 − h(negative)), averaged over the batch.

    h(s) = p / (p + K/M), with p = exp(s/τ) / Z, is the probability that a pair is of one sample and not one of K noise
    samples from the M of the set. The paper has Z = 1; RepDistiller, which the published figures are from, estimates
    it. It also adds 1e-7 to each denominator, which sums in log-space do not need.

    Args:
        positive: (N,), similarities of embeddings of the same sample, cosines for unit vectors.
        negative: (N, K), similarities to other samples.
        samples: M, the size of the training set.
        log_z: log Z, in nats.
        tau: the temperature, above 0.

    Returns:
        A scalar, at least 0, in nats.
    """
    log_noise = math.log(negative.shape[1] / samples)
    positive, negative = (full(s) / tau - log_z - log_noise for s in (positive, negative))
    return -(F.logsigmoid(positive) + F.logsigmoid(-negative).sum(1)).mean()


@LOSSES.register("crd")
class CRD(FeatureLoss):
    """The :func:`nce_loss` of the student's embeddings against a memory bank of the teacher's, plus the reverse.

    Features of one pair of layers, maps by their means, are embedded by a linear layer each and normalised. In training
    mode a forward pass updates the memory banks, with the samples of all processes under torchrun, and the first one
    sets Z to mean(exp(s/τ)) · M.

    RepDistiller's published figures draw negatives from other classes; without labels its draw may hit the sample
    itself. Here negatives are any other samples, and never the sample itself.

    Args:
        student_shapes, teacher_shapes: one shape each.
        samples: number of samples in the training set, at least 2.
        feat_dim: width of the embeddings.
        negatives: number of negatives for each sample, at most all others.
        tau: the temperature, above 0.
        momentum: momentum of the memory banks, in [0, 1).

    Raises:
        TrainingError: there is not exactly one pair, or no training set, or an option is out of range; on a call,
            indices are missing or not of the set.

    >>> loss = CRD([(64,)], [(256,)], samples=50000)
    >>> loss([student], [teacher], indices)  # doctest: +SKIP
    """

    weight = 0.8
    log_z: Tensor

    def __init__(
        self,
        student_shapes: Sequence[Shape],
        teacher_shapes: Sequence[Shape],
        *,
        samples: int = 0,
        feat_dim: int = 128,
        negatives: int = 16384,
        tau: float = 0.07,
        momentum: float = 0.5,
    ):
        super().__init__(student_shapes, teacher_shapes, samples=samples)
        _check_set(len(self.student_shapes), samples)
        _check_options(feat_dim, negatives, tau, momentum)
        # Not "temperature": a recipe's is of softened logits, 4 as a rule, and is set for every loss with that option.
        self.negatives, self.tau = min(negatives, samples - 1), tau
        self.student_embedding = nn.Linear(self.student_shapes[0][0], feat_dim)
        self.teacher_embedding = nn.Linear(self.teacher_shapes[0][0], feat_dim)
        self.student_memory = MemoryBank(samples, feat_dim, momentum)
        self.teacher_memory = MemoryBank(samples, feat_dim, momentum)
        self.register_buffer("log_z", torch.full((2,), math.nan))

    @classmethod
    def default_layers(cls, shapes: Sequence[Shape]) -> list[int]:
        """Return the deepest layer."""
        return [len(shapes) - 1] if shapes else []

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], indices: Tensor | None = None) -> Tensor:
        indices = self._checked(indices, student[0])
        own = _embedded(self.student_embedding, student[0])
        reference = _embedded(self.teacher_embedding, teacher[0])
        drawn = draw_negatives(indices, self.negatives, self.samples)
        compared = torch.cat([indices[:, None], drawn], dim=1)
        loss = self._contrast(0, self.teacher_memory.similarities(own, compared))
        loss = loss + self._contrast(1, self.student_memory.similarities(reference, compared))
        if self.training:
            gathered = distributed.all_gather(indices)
            self.student_memory.update(distributed.all_gather(own.detach()), gathered)
            self.teacher_memory.update(distributed.all_gather(reference.detach()), gathered)
        return loss

    def _contrast(self, side: int, similarities: Tensor) -> Tensor:
        log_z = self._constant(side, similarities.detach())
        return nce_loss(similarities[:, 0], similarities[:, 1:], self.samples, log_z, self.tau)

    def _constant(self, side: int, similarities: Tensor) -> Tensor:
        log_mean = distributed.mean((similarities / self.tau).flatten().logsumexp(0)) - math.log(similarities.numel())
        # A branch on whether the constant is set would wait for the GPU at every step.
        constant = torch.where(self.log_z[side].isnan(), log_mean + math.log(self.samples), self.log_z[side])
        if self.training:
            self.log_z[side] = constant
        return constant

    def _checked(self, indices: Tensor | None, like: Tensor) -> Tensor:
        if indices is None:
            raise TrainingError(
                "crd stores a vector for every sample and needs the batch's indices in the training set: pass them as "
                "indices, or choose a method that needs none, such as 'sp' or 'pkt'"
            )
        if indices.shape != like.shape[:1]:
            raise TrainingError(
                f"crd got indices of shape {tuple(indices.shape)} for {len(like)} samples: pass one for each sample"
            )
        # A GPU checks the range itself in the look-up; reading it there would wait for it.
        if indices.device.type == "cpu" and not 0 <= int(indices.min()) <= int(indices.max()) < self.samples:
            raise TrainingError(
                f"crd got indices from {int(indices.min())} to {int(indices.max())}, outside a training set of "
                f"{self.samples}: pass indices in that set, or its true size as samples"
            )
        return indices.to(like.device)


def _embedded(linear: nn.Linear, features: Tensor) -> Tensor:
    return unit(full(linear(embedding(full(features)).to(linear.weight.dtype))))


def _check_set(pairs: int, samples: int) -> None:
    if pairs != 1:
        raise TrainingError(
            f"crd compares one pair of layers, and there are {pairs}: name one layer of each network, "
            "such as the last one before the classifier"
        )
    if samples < 2:
        raise TrainingError(
            f"crd stores a vector for every sample of the training set and needs 2 at least, got samples={samples}: "
            "pass the size of the set as samples"
        )


def _check_options(feat_dim: int, negatives: int, tau: float, momentum: float) -> None:
    for name, count, usual in (("feat_dim", feat_dim, 128), ("negatives", negatives, 16384)):
        if not isinstance(count, int) or count < 1:
            raise TrainingError(f"crd's {name} must be a whole number of at least 1, got {count!r}; {usual} is usual")
    if not isinstance(tau, Real) or not 0 < tau < math.inf:
        raise TrainingError(f"crd's tau must be a number above 0, got {tau!r}; 0.07 is usual")
    if not isinstance(momentum, Real) or not 0 <= momentum < 1:
        raise TrainingError(f"crd's momentum must be a number in [0, 1), got {momentum!r}; 0.5 is usual")
