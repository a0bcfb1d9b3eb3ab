"""Ranks of all layers by one threshold: the share of its squared singular values that every layer keeps."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgekd.factorize.decomposition import Decomposition, Ranks
from edgekd.factorize.layers import Candidate
from edgekd.factorize.registry import DECOMPOSITIONS

# Halvings of what may be discarded: behind them, no rank changes any more.
HALVINGS = 40


@dataclass(frozen=True)
class Choice:
    """The method and the ranks of one layer, and its multiply-accumulates then."""

    candidate: Candidate
    method: str
    ranks: Ranks
    macs: int


class RankSearch:
    """The ranks of every layer at any threshold, decomposed by whichever of ``methods`` is cheapest there.

    A layer is factorised only where that saves multiply-accumulates.

    Args:
        candidates: the layers that can be factorised.
        macs: those of the whole network for one sample.
        methods: names of ``DECOMPOSITIONS``.
        round_to: ranks are multiples of this, or full.
    """

    def __init__(self, candidates: Sequence[Candidate], macs: int, methods: Sequence[str], round_to: int):
        self.macs, self.round_to = macs, round_to
        self.ways: list[tuple[Candidate, dict[str, Decomposition]]] = []
        for one in candidates:
            fitting = [name for name in methods if DECOMPOSITIONS.find(name).suits(one.layer)]
            self.ways.append(
                (one, {name: DECOMPOSITIONS[name](one.layer, one.positions, round_to) for name in fitting})
            )

    def at(self, discard: float) -> list[Choice]:
        """Return the layers that get cheaper where each may discard the share ``discard`` of its energy."""
        found = []
        for candidate, ways in self.ways:
            choices = []
            for name, way in ways.items():
                ranks = way.ranks(discard)
                choices.append(Choice(candidate, name, ranks, way.macs(ranks)))
            best = min(choices, key=lambda choice: choice.macs, default=None)
            if best is not None and best.macs < candidate.macs:
                found.append(best)
        return found

    def cost(self, choices: Sequence[Choice]) -> int:
        """Count the multiply-accumulates of the network with ``choices`` made."""
        return self.macs - sum(choice.candidate.macs - choice.macs for choice in choices)

    def within(self, budget: float) -> float | None:
        """Return the least share to discard at which the network costs at most ``budget`` multiply-accumulates.

        None where it costs more at any.
        """
        low, high = 0.0, 1.0
        if self.cost(self.at(high)) > budget:
            return None
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if self.cost(self.at(middle)) <= budget:
                high = middle
            else:
                low = middle
        return high

    def least(self) -> int:
        """Count the fewest multiply-accumulates that any ranks reach, whatever the weights."""
        return self.cost(self.at(1.0))

    def decomposition(self, choice: Choice) -> Decomposition:
        return next(ways[choice.method] for candidate, ways in self.ways if candidate is choice.candidate)
