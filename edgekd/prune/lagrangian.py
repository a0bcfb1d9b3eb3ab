"""Allocation of widths by coordinate descent on the Lagrangian: the least importance lost at a given cost.

Each channel group takes one of a few widths. The loss is the sum of the scores of the channels that go. The cost of a
width depends on the neighbouring groups, since a layer's time follows from its inputs and its outputs. For a given
multiplier (a price of cost) the groups take in turns the width with the least loss plus multiplier times cost, until
none changes. The multiplier is found by bisection, and what is left of the budget goes to the groups that gain most.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Widths = tuple[int, ...]
SWEEPS, BISECTIONS, PRECISION = 20, 40, 1e-6


@dataclass(frozen=True)
class WidthChoice:
    """A group's candidate widths, ascending, and the importance that each loses; the last is the uncut group."""

    widths: Sequence[int]
    losses: Sequence[float]


class LagrangianAllocator:
    """Finds widths for channel groups within a budget.

    Args:
        choices: candidate widths of each group.
        cost: ``cost(group, widths)`` is the cost of the group's layers at these widths; of the whole network where
            ``group`` is None.
    """

    def __init__(self, choices: Sequence[WidthChoice], cost: Callable[[int | None, Widths], float]):
        self.choices, self.cost = choices, cost

    def cheapest(self) -> Widths:
        """Return the narrowest widths that there are."""
        return tuple(choice.widths[0] for choice in self.choices)

    def within(self, budget: float) -> Widths | None:
        """Return widths that cost at most ``budget`` and lose little importance, or None if no widths do."""
        if self.cost(None, self.cheapest()) > budget:
            return None
        full = tuple(choice.widths[-1] for choice in self.choices)
        if self.cost(None, full) <= budget:
            return full
        low, high = 0.0, 1.0
        best = self._descend(high, full)
        while self.cost(None, best) > budget:
            low, high = high, 4 * high
            best = self._descend(high, full) if high < 1e12 else self.cheapest()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            found = self._descend(middle, full)
            if self.cost(None, found) <= budget:
                best, high = found, middle
            else:
                low = middle
            if high - low < PRECISION * high:
                break
        return self._widened(best, budget)

    def _descend(self, multiplier: float, start: Widths) -> Widths:
        widths = list(start)
        for _ in range(SWEEPS):
            before = list(widths)
            for group, choice in enumerate(self.choices):
                widths[group] = min(
                    zip(choice.widths, choice.losses, strict=True),
                    # of two that are as good the wider
                    key=lambda each: (each[1] + multiplier * self._cost_with(widths, group, each[0]), -each[0]),
                )[0]
            if widths == before:
                break
        return tuple(widths)

    def _cost_with(self, widths: list[int], group: int, width: int) -> float:
        return self.cost(group, (*widths[:group], width, *widths[group + 1 :]))

    def _widened(self, widths: Widths, budget: float) -> Widths:
        """Widen groups while the budget allows, the most importance for the cost first."""
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
