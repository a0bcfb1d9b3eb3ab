"""Weights of loss terms that balance the norms of their gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.train import distributed


class GradientBalance(nn.Module):
    """Scales the gradients of all terms to the norm of the first one's.

    As in GradNorm (Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing", 2018) terms are
    compared by the norms of their gradients; here the weights are set to the ratio rather than learned. Norms are
    measured every ``every`` calls, since a measurement costs a backward pass for each term, and averaged. Under
    torchrun they cover the samples of all processes.

    Args:
        count: number of terms.
        momentum: momentum of the averages, in [0, 1).
    """

    norms: Tensor
    calls: Tensor

    def __init__(self, count: int, every: int = 20, momentum: float = 0.9):
        super().__init__()
        self.every, self.momentum = every, momentum
        self.register_buffer("norms", torch.zeros(count))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "GradientBalance":
        # Both are read at every step, and stay on the CPU: on a GPU each reading would wait for all of its work.
        return self

    def forward(self, terms: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[float]:
        """Return a factor for each of ``terms``, from their gradients with respect to ``parameters``."""
        if int(self.calls) % self.every == 0:
            self._measure(terms, [parameter for parameter in parameters if parameter.requires_grad])
        self.calls += 1
        first, *_ = norms = self.norms.tolist()
        # A term without a gradient cannot be scaled.
        return [first / norm if first > 0 and norm > 0 else 1.0 for norm in norms]

    def _measure(self, terms: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
        for index, term in enumerate(terms):
            gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            squares = [distributed.mean(each).float().square().sum() for each in gradients if each is not None]
            norm = torch.stack(squares).sum().sqrt() if squares else torch.zeros(())
            if not norm.isfinite():
                continue
            if self.norms[index] == 0:
                self.norms[index] = norm
            else:
                self.norms[index].lerp_(norm.to(self.norms), 1 - self.momentum)
