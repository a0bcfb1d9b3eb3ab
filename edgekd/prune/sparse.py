"""Sparse learning before the cut: Fang et al., "DepGraph: Towards Any Structural Pruning" (2023), section 3.3.

torch-pruning has it in its pruners, for their own loop; they leave out BatchNorms (GrowingReg adds to a copy) or give
NaN where all norms of a group are equal, and lose channels' strengths behind a grouped convolution (1.6.1).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgekd.errors import ModelError, TrainingError
from edgekd.prune.graph import channel_graph
from edgekd.prune.importance.gradients import unharmed
from edgekd.prune.importance.members import Member, members
from edgekd.prune.importance.ties import Ties, ties
from edgekd.prune.trial import withheld
from edgekd.ranges import NOT_NEGATIVE, POSITIVE


class GroupNorm:
    """Draws the weakest channels of every dependency group to zero, through all layers of the group alike.

    It adds the gradient of strength/2 · Σ γ_k ‖w_k‖² over the channels k of each group, w_k all that the group's
    layers have of the channel, γ_k = 2^(α (I_max − I_k) / (I_max − I_min)) and I_k = ‖w_k‖² taken as constant: a
    weight decay of ``strength`` on the strongest channel and 2^α times that on the weakest. Channels that a grouped
    convolution can only lose together share their I_k. Biases, and layers that give the network's outputs, are left
    alone. Nothing is random.

    >>> regulariser = GroupNorm(network, input_shape, strength=1e-3)  # doctest: +SKIP
    >>> loss.backward()
    >>> regulariser.step()  # behind a scaler's unscale_, before gradients are clipped
    >>> optimizer.step()

    Args:
        network: as it is trained; after a cut, or where layers are replaced, it takes a new regulariser.
        input_shape: one input without its batch.
        strength: above 0; in units of the optimiser's weight decay. 1e-4 to 1e-2 are usual.
        alpha: at least 0; 0 is a plain weight decay, 4 the paper's.
        ignored: layers whose channels will not be cut.

    Raises:
        TrainingError: a strength or alpha out of range.
        ModelError: there is no group whose channels could be cut.
    """

    def __init__(
        self,
        network: nn.Module,
        input_shape: tuple[int, ...],
        strength: float = 1e-3,
        alpha: float = 4.0,
        ignored: Sequence[nn.Module] = (),
    ):
        POSITIVE.check(TrainingError, strength=strength)
        NOT_NEGATIVE.check(TrainingError, alpha=alpha)
        self.strength, self.alpha = strength, alpha
        self._groups = _groups(network, input_shape, ignored)
        if not self._groups:
            raise ModelError(
                f"{type(network).__name__} has no channels to regularise by groups: ignore fewer layers, or train "
                "without the regulariser"
            )

    @torch.no_grad()
    def step(self) -> None:
        """Adds to the gradients that are there, in place.

        Raises:
            TrainingError: no parameter has a gradient yet.
        """
        regularised = False
        for parts, tied in self._groups.values():
            means = tied.mean(_squares(parts, tied.width))
            strengths = self.strength * tied.spread(shrinkage(means, self.alpha))
            for member in parts:
                if member.weight.grad is not None:
                    spread = member.spread(strengths).to(member.weight)
                    member.weight.grad.addcmul_(member.weight, spread)
                    regularised = True
        if not regularised:
            raise TrainingError("the group-norm regulariser found no gradients: call step() after loss.backward()")

    @torch.no_grad()
    def norms(self) -> dict[str, Tensor]:
        """‖w_k‖ of each channel now, (channels,) by the path of the group's root."""
        return {root: _squares(parts, tied.width).sqrt() for root, (parts, tied) in self._groups.items()}


def shrinkage(importances: Tensor, alpha: float) -> Tensor:
    """γ of each channel, in [1, 2^alpha]; 1 for all where ``importances`` (channels,) are equal."""
    span = importances.max() - importances.min()
    below = (importances.max() - importances) / span.where(span > 0, span.new_ones(()))
    return torch.exp2(alpha * below)


def _groups(
    network: nn.Module, input_shape: tuple[int, ...], ignored: Sequence[nn.Module]
) -> dict[str, tuple[list[Member], Ties]]:
    paths = {module: path for path, module in network.named_modules()}
    # Tracing follows autograd: a frozen layer would not be seen.
    with unharmed(network):
        network.requires_grad_(True)
        graph = channel_graph(network, input_shape)
        kept = [*ignored, *withheld(network, input_shape, graph, ignored).failed]
    return {
        paths[group[0].dep.target.module]: (list(members(group)), ties(group)) for group in graph.get_all_groups(kept)
    }


def _squares(parts: Sequence[Member], width: int) -> Tensor:
    total = torch.zeros(width, dtype=torch.float64)
    for member in parts:
        # On the CPU additions to one place have an order.
        total.index_add_(0, member.channels, member.rows(member.weight).square().sum(1).cpu().double())
    return total
