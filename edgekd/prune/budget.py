"""Structured pruning to a share of the network's multiply-accumulates, parameters or size."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from edgekd.errors import ModelError
from edgekd.prune.allocator import allocator
from edgekd.prune.costs import CutCosts
from edgekd.prune.counts import COUNTS
from edgekd.prune.lagrangian import Widths
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Prunable
from edgekd.prune.verification import UnreachableShare, describe_unpruned
from edgekd.ranges import SHARE
from edgekd.tasks.signature import Shape, Signature

# The most candidate widths of a group, and the most cuts until one is within the target.
STEPS, ROUNDS = 32, 8


@dataclass(frozen=True)
class Pruned:
    """A pruned network, its plan, and its cost before and after the cut."""

    network: nn.Module
    plan: Plan
    before: int
    after: int

    @property
    def share(self) -> float:
        return self.after / self.before


def prune(
    network: nn.Module,
    input_shape: Shape | Signature,
    *,
    macs: float | None = None,
    params: float | None = None,
    size: float | None = None,
    **ranking: Any,
) -> Pruned:
    """Prune a copy of ``network`` to a share of its MACs, parameters or size, the least important channels first.

    ``network`` itself is left as it is. The layer that gives the logits is never cut.

    Args:
        input_shape: shape of one input, without the batch; or a signature.
        macs, params, size: the share to keep, in (0, 1); give exactly one of them.
        ranking: arguments of :class:`Prunable`: importance, reduction, scope, round_to, max_ratio, ignore, batches,
            loss, seed, weights.

    Raises:
        ModelError: the target cannot be reached, there is nothing to prune, or a pattern matches nothing.
    """
    given = {name: share for name, share in (("macs", macs), ("params", params), ("size", size)) if share is not None}
    if len(given) != 1:
        raise ModelError("give exactly one of macs, params and size: the share of the network to keep")
    SHARE.check(ModelError, **given)
    [(target, share)] = given.items()
    return prune_to(target, share, Prunable(network, input_shape, **ranking))


def prune_to(target: str, share: float, prunable: Prunable) -> Pruned:
    """Prune as :func:`prune` does, with ``target`` the name of an entry of :data:`COUNTS`."""
    costs = _costs(target, prunable)
    allocation, aim = allocator(prunable, costs), share
    for _ in range(ROUNDS):
        widths = allocation.within(aim)
        if widths is None:
            break
        pruned = _cut(target, prunable, widths)
        if pruned.share <= share:
            return pruned
        # Costs outside the layers are estimates, and some widths are interpolated.
        aim = min(aim, costs.share(None, widths)) * share / pruned.share
    return _smallest(target, share, prunable, allocation.cheapest())


def least_share(target: str, prunable: Prunable) -> float:
    """Return the least share that a cut reaches, in (0, 1], with ``target`` the name of an entry of :data:`COUNTS`."""
    return _cut(target, prunable, allocator(prunable, _costs(target, prunable)).cheapest()).share


def must_reach(target: str, share: float, prunable: Prunable) -> None:
    """Refuse a ``share`` that no cut reaches.

    Raises:
        ModelError: the share cannot be reached; the message says the least that can.
    """
    _smallest(target, share, prunable, allocator(prunable, _costs(target, prunable)).cheapest())


def _costs(target: str, prunable: Prunable) -> CutCosts:
    count = COUNTS.find(target)
    costs = CutCosts(prunable, count, STEPS)
    costs.set_total(count.of(prunable.network, prunable.input_shape))
    return costs


def _cut(target: str, prunable: Prunable, widths: Widths) -> Pruned:
    count, shape = COUNTS.find(target).of, prunable.input_shape
    smaller, plan = prunable.cut_to(widths)
    return Pruned(smaller, plan, count(prunable.network, shape), count(smaller, shape))


def _smallest(target: str, share: float, prunable: Prunable, widths: Widths) -> Pruned:
    pruned = _cut(target, prunable, widths)
    if pruned.share > share:
        raise UnreachableShare(
            f"pruning cannot reach {share:.0%} of the {COUNTS[target].words}: with max_ratio "
            f"{prunable.max_ratio} and widths in multiples of {prunable.round_to} the least is {pruned.share:.0%}; "
            f"raise the target or max_ratio, or lower round_to{describe_unpruned(prunable.unpruned)}"
        )
    return pruned
