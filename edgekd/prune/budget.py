"""Structured pruning until the network costs a given share of what it did."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from edgekd.errors import ModelError
from edgekd.prune.choose import chooser
from edgekd.prune.costs import CutCosts
from edgekd.prune.counts import COUNTS
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Prunable
from edgekd.prune.search import Widths
from edgekd.prune.trial import in_words
from edgekd.ranges import SHARE

# Candidate widths of a group, at most, and cuts until one is within the target.
STEPS, ROUNDS = 32, 8


@dataclass(frozen=True)
class Pruned:
    """A network with fewer channels, and how it came by them."""

    network: nn.Module
    plan: Plan
    before: int
    after: int

    @property
    def share(self) -> float:
        return self.after / self.before


def prune(
    network: nn.Module,
    input_shape: tuple[int, ...],
    *,
    macs: float | None = None,
    params: float | None = None,
    size: float | None = None,
    **ranking: Any,
) -> Pruned:
    """Cuts channels until ``macs``, ``params`` or ``size`` of the network's share is kept, the least important first.

    ``network`` itself is left as it is; the layer that gives the logits is never touched.

    Args:
        input_shape: one input without its batch.
        macs, params, size: the share to keep, in (0, 1); exactly one of them.
        ranking: of :class:`Prunable`: importance, reduction, scope, round_to, max_ratio, ignore, batches, loss,
            seed, weights.

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
    """As :func:`prune`, with the ``target`` of :data:`COUNTS` by its name."""
    costs = _costs(target, prunable)
    choose, aim = chooser(prunable, costs), share
    for _ in range(ROUNDS):
        widths = choose.within(aim)
        if widths is None:
            break
        pruned = _cut(target, prunable, widths)
        if pruned.share <= share:
            return pruned
        # Costs beside the layers are estimates, and some widths are interpolated.
        aim = min(aim, costs.share(None, widths)) * share / pruned.share
    return _hardest(target, share, prunable, choose.cheapest())


def must_reach(target: str, share: float, prunable: Prunable) -> None:
    """Refuses a ``share`` that no cut reaches.

    Raises:
        ModelError: with the least that can be reached.
    """
    _hardest(target, share, prunable, chooser(prunable, _costs(target, prunable)).cheapest())


def _costs(target: str, prunable: Prunable) -> CutCosts:
    count = COUNTS.find(target)
    costs = CutCosts(prunable, count, STEPS)
    costs.counted(count.of(prunable.network, prunable.input_shape))
    return costs


def _cut(target: str, prunable: Prunable, widths: Widths) -> Pruned:
    count, shape = COUNTS.find(target).of, prunable.input_shape
    smaller, plan = prunable.cut_to(widths)
    return Pruned(smaller, plan, count(prunable.network, shape), count(smaller, shape))


def _hardest(target: str, share: float, prunable: Prunable, widths: Widths) -> Pruned:
    pruned = _cut(target, prunable, widths)
    if pruned.share > share:
        raise ModelError(
            f"pruning cannot reach {share:.0%} of the {COUNTS[target].words}: with max_ratio "
            f"{prunable.max_ratio} and widths in multiples of {prunable.round_to} the least is {pruned.share:.0%}; "
            f"raise the target or max_ratio, or lower round_to{in_words(prunable.left)}"
        )
    return pruned
