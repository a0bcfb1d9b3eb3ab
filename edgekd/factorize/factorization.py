"""Low-rank factorisation of a network: ranks for a target, and factors of the weights that it has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.factorize.decomposition import Factors, Layer, Ranks
from edgekd.factorize.layers import WholeLayer, find_candidates
from edgekd.factorize.plan import Plan, build, replace
from edgekd.factorize.ranks import Choice, RankSearch
from edgekd.factorize.registry import DECOMPOSITIONS
from edgekd.models import count_macs
from edgekd.models.copies import copied
from edgekd.models.fold import fold
from edgekd.ranges import COUNT, SHARE
from edgekd.tasks.signature import Shape, Signature

# Layers that a message names.
SHOWN = 3


@dataclass(frozen=True)
class FactorizedLayer:
    """A layer that was replaced by factors.

    Attributes:
        energy: the share of the weight's squared norm that the factors keep.
        before, after: multiply-accumulates of one sample in the layer and in its factors.
    """

    path: str
    method: str
    ranks: Ranks
    energy: float
    before: int
    after: int


@dataclass(frozen=True)
class Factorized:
    """A network with low-rank layers, and how it came by them.

    Attributes:
        plan: what :func:`edgekd.factorize.apply_plan` takes.
        left: layers that were left whole, and why; ignored ones are not among them.
        energy: the share of its squared singular values that every factorised layer keeps at least.
        before, after: multiply-accumulates of one sample.
    """

    network: nn.Module
    plan: Plan
    layers: tuple[FactorizedLayer, ...]
    left: tuple[WholeLayer, ...]
    energy: float
    before: int
    after: int

    @property
    def share(self) -> float:
        return self.after / self.before


def factorize(
    network: nn.Module,
    input_shape: Shape | Signature,
    *,
    macs: float | None = None,
    energy: float | None = None,
    methods: Sequence[str] = ("svd", "tucker", "spatial"),
    ignore: Sequence[str] = (),
    round_to: int = 8,
) -> Factorized:
    """Replace layers by low-rank factors, each by the cheapest of ``methods`` at one share of energy for all.

    ``network`` itself is left as it is. A layer becomes an ``nn.Sequential`` of plain layers of its own kind; one that
    would not get cheaper is left whole.

    Args:
        input_shape: shape of one input, without the batch; or a signature.
        macs: the share of the network's multiply-accumulates to keep, in (0, 1).
        energy: in place of ``macs``: the share of its squared singular values that each layer keeps, in (0, 1).
        methods: entries of ``DECOMPOSITIONS``.
        ignore: path patterns (``layer1.*``) of layers to leave alone.
        round_to: ranks are multiples of this, or full; runtimes are fast at multiples of 8 or 16.

    Raises:
        ModelError: the target cannot be reached, no layer would get cheaper, or a pattern matches nothing.
    """
    if (macs is None) == (energy is None):
        raise ModelError("give exactly one of macs and energy: the share of the network, or of each layer, to keep")
    SHARE.check(ModelError, macs=macs, energy=energy)
    COUNT.check(ModelError, round_to=round_to)
    round_to = int(round_to)  # a plan holds plain numbers
    for method in methods:
        DECOMPOSITIONS.find(method)
    smaller = fold(copied(network))
    search, left = _search(smaller, input_shape, methods, ignore, round_to)
    if macs is not None:
        _must_reach(search, macs, left)
        discard = cast(float, search.within(macs * search.macs))
    else:
        discard = 1 - cast(float, energy)
    choices = search.at(discard)
    if not choices:
        raise ModelError(_nothing_cheaper(search, 1 - discard, left))
    layers = tuple(_factorize(smaller, search, choice) for choice in choices)
    left += _without(search, choices, f"no factors are cheaper at {1 - discard:.1%} of its energy")
    return Factorized(
        smaller,
        [[layer.path, layer.method, list(layer.ranks)] for layer in layers],
        layers,
        _in_order(network, left),
        1 - discard,
        search.macs,
        count_macs(smaller, input_shape),
    )


def must_reach(
    network: nn.Module,
    input_shape: Shape | Signature,
    *,
    macs: float | None = None,
    methods: Sequence[str] = ("svd", "tucker", "spatial"),
    ignore: Sequence[str] = (),
    round_to: int = 8,
) -> tuple[WholeLayer, ...]:
    """Return the layers that :func:`factorize` leaves whole whatever their weights; nothing is decomposed.

    Raises:
        ModelError: as :func:`factorize` does where no weights could reach ``macs``, or a pattern matches nothing.
    """
    for method in methods:
        DECOMPOSITIONS.find(method)
    search, left = _search(fold(copied(network)), input_shape, methods, ignore, round_to)
    if macs is not None:
        _must_reach(search, macs, left)
    return _in_order(network, left + _without(search, search.at(1.0), "no factors are cheaper at any rank"))


def _search(
    network: nn.Module, input_shape: Shape | Signature, methods: Sequence[str], ignore: Sequence[str], round_to: int
) -> tuple[RankSearch, list[WholeLayer]]:
    candidates, left = find_candidates(network, input_shape, ignore)
    if not candidates:
        raise ModelError(f"{type(network).__name__} has no layer to factorise: leave the stage out{_in_words(left)}")
    return RankSearch(candidates, count_macs(network, input_shape), methods, round_to), left


def _must_reach(search: RankSearch, share: float, left: Sequence[WholeLayer]) -> None:
    if search.least() > share * search.macs:
        least = math.ceil(1000 * search.least() / search.macs) / 10
        raise ModelError(
            f"factorisation cannot reach {share:.1%} of the MACs: with ranks in multiples of {search.round_to} the "
            f"least is {least}%; raise macs, lower round_to, or ignore fewer layers{_in_words(left)}"
        )


def _without(search: RankSearch, choices: Sequence[Choice], reason: str) -> list[WholeLayer]:
    chosen = {choice.candidate.path for choice in choices}
    return [WholeLayer(one.path, reason) for one, _ in search.ways if one.path not in chosen]


def _in_order(network: nn.Module, left: Sequence[WholeLayer]) -> tuple[WholeLayer, ...]:
    order = [path for path, _ in network.named_modules()]
    return tuple(sorted(left, key=lambda layer: order.index(layer.path)))


def _factorize(network: nn.Module, search: RankSearch, choice: Choice) -> FactorizedLayer:
    candidate = choice.candidate
    with torch.random.fork_rng(devices=[]):  # random weights that are overwritten at once
        replacement = build(choice.method, candidate.layer, choice.ranks)
    factors = search.decomposition(choice).factors(choice.ranks)
    _fill(replacement, candidate.layer, factors)
    replace(network, candidate.path, replacement)
    return FactorizedLayer(candidate.path, choice.method, choice.ranks, factors.energy, candidate.macs, choice.macs)


@torch.no_grad()
def _fill(replacement: nn.Sequential, layer: Layer, factors: Factors) -> None:
    parts = [cast(Layer, part) for part in replacement]
    for part, weight in zip(parts, factors.weights, strict=True):
        part.weight.copy_(weight.reshape(part.weight.shape))
    if layer.bias is not None:
        cast(torch.Tensor, parts[-1].bias).copy_(layer.bias)


def _nothing_cheaper(search: RankSearch, energy: float, left: Sequence[WholeLayer]) -> str:
    discard = search.within(search.macs - 1)
    words = f"no layer gets cheaper while it keeps {energy:.1%} of its energy"
    if discard is None:
        return f"{words}, nor at any other share: lower round_to, ignore fewer layers, or leave the stage out"
    most = math.floor(1000 * (1 - discard)) / 10
    return f"{words}; the most at which one does is {most}%: lower energy or round_to{_in_words(left)}"


def _in_words(left: Sequence[WholeLayer]) -> str:
    if not left:
        return ""
    more = f"; and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    return f". Left whole: {'; '.join(map(str, left[:SHOWN]))}{more}"
