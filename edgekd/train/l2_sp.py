"""L2-SP: a pull towards the weights that a training starts from."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class L2SP:
    """α/2 · ‖w − w⁰‖², whose gradient takes the place of weight decay.

    Equation 2 of Li, Grandvalet and Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional
    Networks" (2018), for the weights that were trained before; its second sum, over those of the new layer, is plain
    weight decay.

    Args:
        weights: as they are now, w⁰; biases and BatchNorm's are among them, as in the paper.
        strength: α, above 0.
    """

    def __init__(self, weights: Iterable[nn.Parameter], strength: float):
        self.strength = strength
        self.pairs: list[tuple[nn.Parameter, Tensor]] = [(w, w.detach().clone()) for w in weights]

    def penalty(self) -> Tensor:
        """Return α/2 · ‖w − w⁰‖², a scalar."""
        return self.strength / 2 * torch.stack([(w - start).square().sum() for w, start in self.pairs]).sum()

    @torch.no_grad()
    def pull(self) -> None:
        """Add the gradient of :meth:`penalty`, α · (w − w⁰), to the gradients that are there."""
        for weight, start in self.pairs:
            if weight.grad is not None:
                weight.grad.add_(weight - start, alpha=self.strength)
