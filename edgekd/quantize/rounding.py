"""Optimisation of one layer's weight rounding: Nagel et al. (2020), "Up or Down?", eq. 21 to 25."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.machine_lock import give_way, training
from edgekd.ranges import COUNT, POSITIVE, SEED, SHARE_OR_NONE

ZETA, GAMMA = 1.1, -0.1
FIRST_BETA, LAST_BETA = 20.0, 2.0
CHUNK = 4096


@dataclass(frozen=True)
class RoundingSearch:
    """Options of the optimisation with Adam."""

    iterations: int = 1000
    batch_size: int = 512
    """Output positions of the layer in a step."""
    learning_rate: float = 0.03
    regularizer: float = 10.0
    """λ, for an error relative to that of nearest rounding, and a regulariser averaged over the weights."""
    warm_up: float = 0.2
    """The share of the iterations, in [0, 1), without the regulariser."""
    seed: int = 0

    def __post_init__(self) -> None:
        COUNT.check(ModelError, iterations=self.iterations, batch_size=self.batch_size)
        POSITIVE.check(ModelError, learning_rate=self.learning_rate, regularizer=self.regularizer)
        SHARE_OR_NONE.check(ModelError, warm_up=self.warm_up)
        SEED.check(ModelError, seed=self.seed)


@dataclass(frozen=True)
class RoundingProblem:
    """A layer whose weights, in steps of their scales, are to be rounded to integers.

    With ``columns`` of one group of channels as X̂, its output is activation(X̂ · (scale · codes)ᵀ + bias).
    """

    steps: Tensor
    """(groups, outputs, columns): W / scale."""
    scale: Tensor
    """Broadcasts to ``steps``."""
    lowest: int
    highest: int
    """The range of the codes, less the zero point."""
    columns: Tensor
    """(groups, positions, columns): the quantised network's inputs."""
    targets: Tensor
    """(groups, positions, outputs): the float network's outputs, after the activation function."""
    bias: Tensor
    """(groups, 1, outputs)."""
    activation: Callable[[Tensor], Tensor]

    def nearest(self) -> Tensor:
        """Return the codes of nearest rounding."""
        return torch.round(self.steps).clamp(self.lowest, self.highest)

    def between(self, up: Tensor) -> Tensor:
        """Compute ⌊W / scale⌋ + ``up``, within the range of the codes (eq. 22)."""
        return (torch.floor(self.steps) + up).clamp(self.lowest, self.highest)

    def squared_error(self, codes: Tensor, chosen: Tensor | slice) -> Tensor:
        """Compute the mean squared error over the positions ``chosen`` and the outputs."""
        weight = (codes * self.scale).transpose(1, 2)
        outputs = self.activation(torch.baddbmm(self.bias, self.columns[:, chosen], weight))
        return (outputs - self.targets[:, chosen]).square().mean()

    @torch.no_grad()
    def error(self, codes: Tensor) -> float:
        """Compute the mean squared error over all positions and outputs."""
        count = self.columns.shape[1]
        parts = [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        return sum(float(self.squared_error(codes, part)) * (part.stop - part.start) for part in parts) / count


def rectified_sigmoid(v: Tensor) -> Tensor:
    """Compute h(V) = clip(σ(V)·(ζ − γ) + γ, 0, 1), with ζ = 1.1 and γ = −0.1 (eq. 23)."""
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def inverse_rectified_sigmoid(h: Tensor) -> Tensor:
    """Compute the V for which h(V) is ``h``, in [0, 1]."""
    return torch.logit((h - GAMMA) / (ZETA - GAMMA))


def rounding_regularizer(h: Tensor, beta: float) -> Tensor:
    """Compute the mean of 1 − |2h − 1|^β (eq. 24): 0 where every h is 0 or 1, 1 where every h is 1/2."""
    return (1 - (2 * h - 1).abs().pow(beta)).mean()


def annealed_beta(progress: float) -> float:
    """Compute β on a cosine from 20, which leaves all but nearly decided weights free, to 2; ``progress`` in [0, 1]."""
    return LAST_BETA + (FIRST_BETA - LAST_BETA) * (1 + math.cos(math.pi * progress)) / 2


def learn_rounding(problem: RoundingProblem, search: RoundingSearch) -> Tensor:
    """Learn integer codes of the shape of ``problem.steps``, each the next below or above, of nearly the least error.

    The error is relative to that of nearest rounding, so that λ means the same at 8 bits and at 4; the paper's is in
    units of the output.
    """
    unit = problem.error(problem.nearest())
    if unit == 0:
        return problem.nearest()
    generator = torch.Generator().manual_seed(search.seed)
    positions = problem.columns.shape[1]
    v = inverse_rectified_sigmoid(problem.steps - torch.floor(problem.steps)).requires_grad_(True)
    optimizer = torch.optim.Adam([v], lr=search.learning_rate)
    warm_up = round(search.warm_up * search.iterations)
    with torch.enable_grad(), training():
        for iteration in range(search.iterations):
            chosen = torch.randint(positions, (min(search.batch_size, positions),), generator=generator).to(v.device)
            h = rectified_sigmoid(v)
            loss = problem.squared_error(problem.between(h), chosen) / unit
            if iteration >= warm_up:
                beta = annealed_beta((iteration - warm_up) / (search.iterations - warm_up))
                loss = loss + search.regularizer * rounding_regularizer(h, beta)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            give_way()
    return problem.between((rectified_sigmoid(v.detach()) >= 0.5).to(v.dtype))
