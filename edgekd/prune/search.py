"""Widths that lose the least importance at a given cost.

Each channel group takes one of a few widths. What is lost is the sum of the scores of the channels that go; what a
width costs depends on the groups beside it, since a layer's time follows from its inputs and its outputs. For a price
of cost the groups take in turns the width with the least loss plus price times cost, until none changes (coordinate
descent on the Lagrangian); the price is found by bisection, and what is left of the budget is given back to the groups
that gain most by it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Widths = tuple[int, ...]
SWEEPS, BISECTIONS, PRECISION = 20, 40, 1e-6


@dataclass(frozen=True)
class WidthChoice:
    """A group's widths, ascending, and the importance that each of them loses; the last is the group as it is."""

    widths: Sequence[int]
    losses: Sequence[float]


class WidthSearch:
    """Chooses widths for groups.

    Args:
        choices: of each group.
        cost: of a group's layers, all else given: ``cost(group, widths)``; ``None`` for ``group`` is the whole network.
    """

    def __init__(self, choices: Sequence[WidthChoice], cost: Callable[[int | None, Widths], float]):
        self.choices, self.cost = choices, cost

    def cheapest(self) -> Widths:
        """The narrowest that there is."""
        return tuple(choice.widths[0] for choice in self.choices)

    def within(self, budget: float) -> Widths | None:
        """Widths that cost at most ``budget`` and lose little for it; None where no widths do."""
        if self.cost(None, self.cheapest()) > budget:
            return None
        full = tuple(choice.widths[-1] for choice in self.choices)
        if self.cost(None, full) <= budget:
            return full
        low, high = 0.0, 1.0
        best = self._at(high, full)
        while self.cost(None, best) > budget:
            low, high = high, 4 * high
            best = self._at(high, full) if high < 1e12 else self.cheapest()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            found = self._at(middle, full)
            if self.cost(None, found) <= budget:
                best, high = found, middle
            else:
                low = middle
            if high - low < PRECISION * high:
                break
        return self._filled(best, budget)

    def _at(self, price: float, start: Widths) -> Widths:
        widths = list(start)
        for _ in range(SWEEPS):
            before = list(widths)
            for group, choice in enumerate(self.choices):
                widths[group] = min(
                    zip(choice.widths, choice.losses, strict=True),
                    # of two that are as good the wider
                    key=lambda each: (each[1] + price * self._with(widths, group, each[0]), -each[0]),
                )[0]
            if widths == before:
                break
        return tuple(widths)

    def _with(self, widths: list[int], group: int, width: int) -> float:
        return self.cost(group, (*widths[:group], width, *widths[group + 1 :]))

    def _filled(self, widths: Widths, budget: float) -> Widths:
        """Wider where the budget allows, the most importance for the cost first."""
        while True:
            left = budget - self.cost(None, widths)
            gains = []
            for group, choice in enumerate(self.choices):
                at = list(choice.widths).index(widths[group])
                now = self.cost(group, widths)
                for index in range(at + 1, len(choice.widths)):
                    wider = (*widths[:group], choice.widths[index], *widths[group + 1 :])
                    more = self.cost(group, wider) - now
                    if more <= left:
                        gained = choice.losses[at] - choice.losses[index]
                        gains.append((gained / max(more, 1e-12), gained, wider))
            if not gains or max(gains)[1] <= 0:
                return widths
            widths = max(gains)[2]
