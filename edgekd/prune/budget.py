"""Structured pruning until the network costs a given share of what it did."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from edgekd.errors import ModelError
from edgekd.models import count_macs, count_parameters
from edgekd.prune.plan import Plan
from edgekd.prune.prunable import Keeps, Prunable
from edgekd.registry import Registry

Cost = Callable[[nn.Module, tuple[int, ...]], int]
COSTS: Registry[Cost] = Registry("pruning target", ModelError)
COSTS["macs"] = count_macs
WORDS = {"macs": "MACs", "params": "parameters", "size": "size"}


@COSTS.register("params")
def params(network: nn.Module, _: tuple[int, ...]) -> int:
    return count_parameters(network)


@COSTS.register("size")
def size(network: nn.Module, _: tuple[int, ...]) -> int:
    """Bytes of all tensors; a file has some kilobytes more for its graph, whatever the widths."""
    return sum(value.numel() * value.element_size() for value in network.state_dict().values())


@dataclass(frozen=True)
class Pruned:
    """A network with fewer channels, and how it came by them."""

    network: nn.Module
    plan: Plan
    ratio: float
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
    steps: int = 12,
    **ranking: Any,
) -> Pruned:
    """Cuts the least important channels until ``macs``, ``params`` or ``size`` of the network's share is kept.

    The channel ratio is searched by bisection for the mildest cut that meets the target after rounding.
    ``network`` itself is left as it is; the layer that gives the logits is never touched.

    Args:
        input_shape: one input without its batch.
        macs, params, size: the share to keep, in (0, 1); exactly one of them.
        steps: bisections; 0 only finds out whether the target can be reached, and gives the hardest cut.
        ranking: of :class:`Prunable`: importance, reduction, scope, round_to, max_ratio, ignore, batches, loss,
            seed, weights.

    Raises:
        ModelError: the target cannot be reached, there is nothing to prune, or a pattern matches nothing.
    """
    given = {name: share for name, share in (("macs", macs), ("params", params), ("size", size)) if share is not None}
    if len(given) != 1:
        raise ModelError("give exactly one of macs, params and size: the share of the network to keep")
    [(target, share)] = given.items()
    return prune_to(target, share, network, input_shape, steps=steps, **ranking)


def prune_to(
    target: str, share: float, network: nn.Module, input_shape: tuple[int, ...], *, steps: int = 12, **ranking: Any
) -> Pruned:
    """As :func:`prune`, with the ``target`` of :data:`COSTS` by its name."""
    prunable = Prunable(network, input_shape, **ranking)
    cost = COSTS.find(target)
    before = cost(prunable.network, input_shape)

    tried: dict[Keeps, Pruned] = {}

    def cut(ratio: float) -> Pruned:
        keeps = prunable.at_ratio(ratio)
        if keeps not in tried:  # rounding gives many ratios the same widths
            smaller, plan = prunable.cut(keeps)
            tried[keeps] = Pruned(smaller, plan, ratio, before, cost(smaller, input_shape))
        return replace(tried[keeps], ratio=ratio)

    best = cut(1.0)
    if best.share > share:
        raise ModelError(
            f"pruning cannot reach {share:.0%} of the {WORDS[target]}: with max_ratio "
            f"{prunable.max_ratio} and widths in multiples of {prunable.round_to} the least is {best.share:.0%}; "
            "raise the target or max_ratio, or lower round_to"
        )
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        candidate = cut(middle)
        if candidate.share <= share:
            best, high = candidate, middle
        else:
            low = middle
    return best
