"""Sparse learning before the cut: Fang et al., "DepGraph: Towards Any Structural Pruning" (2023), section 3.3.

torch-pruning has it in its pruners, for their own loop; they leave out BatchNorms (GrowingReg adds to a copy) or give
NaN where all norms of a group are equal, and lose channels' strengths behind a grouped convolution (1.6.1).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgekd.errors import ModelError, TrainingError
from edgekd.prune.coupling import CoupledChannels, coupled_channels
from edgekd.prune.graph import channel_graph
from edgekd.prune.group_members import GroupMember, group_members
from edgekd.prune.importance.gradients import restoring
from edgekd.prune.verification import find_unprunable
from edgekd.ranges import NOT_NEGATIVE, POSITIVE
from edgekd.tasks.signature import Shape, Signature


class GroupNorm:
    """Group-norm regulariser: draws the weakest channels of every dependency group to zero, in all layers of the group.

    It adds the gradient of strength/2 · Σ γ_k ‖w_k‖² over the channels k of each group. Here w_k are all weights of
    the channel in the group's layers, γ_k = 2^(α (I_max − I_k) / (I_max − I_min)), and I_k = ‖w_k‖² is taken as
    constant: a weight decay of ``strength`` on the strongest channel, and of 2^α times that on the weakest. Coupled
    channels share their I_k. Biases, and layers that give the network's outputs, are left alone. Nothing is random.

    >>> regulariser = GroupNorm(network, input_shape, strength=1e-3)  # doctest: +SKIP
    >>> loss.backward()
    >>> regulariser.step()  # behind a scaler's unscale_, before gradients are clipped
    >>> optimizer.step()

    Args:
        network: the network in training. After a cut, or where layers are replaced, make a new regulariser.
        input_shape: shape of one input, without the batch; or a signature.
        strength: above 0, in units of the optimiser's weight decay; 1e-4 to 1e-2 are usual.
        alpha: at least 0; 0 is a plain weight decay, 4 the paper's value.
        ignored: layers whose channels will not be cut.

    Raises:
        TrainingError: ``strength`` or ``alpha`` is out of range.
        ModelError: there is no group whose channels could be cut.
    """

    def __init__(
        self,
        network: nn.Module,
        input_shape: Shape | Signature,
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
        """Add the regulariser's gradient to the gradients that are there, in place.

        Raises:
            TrainingError: no parameter has a gradient yet.
        """
        regularised = False
        for members, coupling in self._groups.values():
            means = coupling.mean(_squares(members, coupling.width))
            strengths = self.strength * coupling.spread(shrinkage(means, self.alpha))
            for member in members:
                if member.weight.grad is not None:
                    spread = member.spread(strengths).to(member.weight)
                    member.weight.grad.addcmul_(member.weight, spread)
                    regularised = True
        if not regularised:
            raise TrainingError("the group-norm regulariser found no gradients: call step() after loss.backward()")

    @torch.no_grad()
    def norms(self) -> dict[str, Tensor]:
        """Return the present ‖w_k‖ of each channel, (channels,) by the path of the group's root."""
        return {root: _squares(members, coupling.width).sqrt() for root, (members, coupling) in self._groups.items()}


def shrinkage(importances: Tensor, alpha: float) -> Tensor:
    """Compute γ of each channel, in [1, 2^alpha]; 1 for all where ``importances`` (channels,) are equal."""
    span = importances.max() - importances.min()
    below = (importances.max() - importances) / span.where(span > 0, span.new_ones(()))
    return torch.exp2(alpha * below)


def _groups(
    network: nn.Module, input_shape: Shape | Signature, ignored: Sequence[nn.Module]
) -> dict[str, tuple[list[GroupMember], CoupledChannels]]:
    paths = {module: path for path, module in network.named_modules()}
    # Tracing follows autograd: a frozen layer would not be seen.
    with restoring(network):
        network.requires_grad_(True)
        graph = channel_graph(network, input_shape)
        kept = [*ignored, *find_unprunable(network, input_shape, graph, ignored).layers]
    return {
        paths[group[0].dep.target.module]: (list(group_members(group)), coupled_channels(group))
        for group in graph.get_all_groups(kept)
    }


def _squares(members: Sequence[GroupMember], width: int) -> Tensor:
    total = torch.zeros(width, dtype=torch.float64)
    for member in members:
        # On the CPU additions to one place have an order.
        total.index_add_(0, member.channels, member.rows(member.weight).square().sum(1).cpu().double())
    return total
