"""Structured pruning until the network costs a given share of what it did."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.models import count_macs, count_parameters
from edgekd.prune import importance as _importances  # noqa: F401  (they register themselves)
from edgekd.prune.groups import cut_channels
from edgekd.prune.plan import Plan, example_input, widths
from edgekd.registry import nearest

Cost = Callable[[nn.Module], int]


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
    importance: str = "group_magnitude",
    scope: str = "global",
    round_to: int = 8,
    max_ratio: float = 0.9,
    ignore: Sequence[str] = (),
    seed: int = 0,
    steps: int = 12,
) -> Pruned:
    """Cuts the least important channels until ``macs`` or ``params`` of the network's share is kept.

    The channel ratio is searched by bisection for the mildest cut that meets the target after rounding.
    ``network`` itself is left as it is; the layer that gives the logits is never touched.

    Args:
        input_shape: one input without its batch.
        macs, params: the share to keep, in (0, 1); exactly one of the two.
        importance: an entry of ``IMPORTANCES``.
        scope: ``global`` ranks all channels together, ``layer`` cuts every layer by the same ratio.
        round_to: widths stay multiples of this; runtimes are fast at multiples of 8 or 16.
        max_ratio: the largest share of a layer's channels that may go, in (0, 1).
        ignore: path patterns (``layer1.*``) of layers to leave alone.
        steps: bisections; 0 only finds out whether the target can be reached, and gives the hardest cut.

    Raises:
        ModelError: the target cannot be reached, or a pattern matches nothing.
    """
    if (macs is None) == (params is None):
        raise ModelError("give exactly one of macs and params: the share of the network to keep")
    share = macs if macs is not None else params
    assert share is not None
    cost: Cost = count_parameters if macs is None else lambda n: count_macs(n, input_shape)
    # A copy, because a forward pass in training mode would change BatchNorm's statistics.
    original = copy.deepcopy(network).eval()
    kept, before = _ignored(original, input_shape, ignore), cost(original)

    def cut(ratio: float) -> Pruned:
        torch.manual_seed(seed)
        candidate = copy.deepcopy(network)
        layers = dict(candidate.named_modules())
        plan = cut_channels(
            candidate,
            input_shape,
            ratio,
            importance=importance,
            scope=scope,
            round_to=round_to,
            max_ratio=max_ratio,
            ignored=[layers[name] for name in kept],
        )
        return Pruned(candidate, plan, ratio, before, cost(candidate))

    best = cut(1.0)
    if best.share > share:
        raise ModelError(
            f"pruning cannot reach {share:.0%} of the {'parameters' if macs is None else 'MACs'}: with max_ratio "
            f"{max_ratio} and widths in multiples of {round_to} the least is {best.share:.0%}; "
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


def _ignored(network: nn.Module, input_shape: tuple[int, ...], patterns: Sequence[str]) -> list[str]:
    names = list(widths(network))
    found = {_last_layer(network, input_shape)}
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise ModelError(f"prune.ignore: {pattern!r} matches no layer{nearest(pattern, names)}")
        found.update(matching)
    return sorted(found)


def _last_layer(network: nn.Module, input_shape: tuple[int, ...]) -> str:
    called: list[str] = []
    layers = dict(network.named_modules())
    hooks = [layers[name].register_forward_hook(lambda *_, name=name: called.append(name)) for name in widths(network)]
    try:
        with torch.no_grad():
            network(example_input(network, input_shape))
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        raise ModelError(f"{type(network).__name__} has no convolution or linear layer to prune")
    return called[-1]
