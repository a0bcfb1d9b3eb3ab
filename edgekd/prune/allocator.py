"""Allocation of widths to channel groups within a budget: by one threshold for all scores, or by Lagrangian search."""

from collections.abc import Callable
from typing import Protocol

from edgekd.prune.costs import CutCosts
from edgekd.prune.lagrangian import LagrangianAllocator, Widths
from edgekd.prune.prunable import Prunable

BISECTIONS = 16


class Allocator(Protocol):
    """Widths for all channel groups that fit a budget."""

    def cheapest(self) -> Widths:
        """Return the narrowest widths that there are."""

    def within(self, budget: float) -> Widths | None:
        """Return widths that cost at most ``budget``, or None if no widths do."""


class ThresholdAllocator:
    """Cuts the channels with the lowest scores of all, as the ``scope`` of ``prunable`` ranks them.

    Args:
        cost: ``cost(None, widths)`` is the network's cost at these widths.
    """

    def __init__(self, prunable: Prunable, cost: Callable[[None, Widths], float]):
        self.prunable, self.cost = prunable, cost

    def cheapest(self) -> Widths:
        """Return the narrowest widths that there are."""
        return self._at(1.0)

    def within(self, budget: float) -> Widths | None:
        """Return the widths of the mildest cut that costs at most ``budget``, or None if no cut does."""
        best, low, high = self.cheapest(), 0.0, 1.0
        if self.cost(None, best) > budget:
            return None
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            widths = self._at(middle)
            if self.cost(None, widths) <= budget:
                best, high = widths, middle
            else:
                low = middle
        return best

    def _at(self, ratio: float) -> Widths:
        keeps = self.prunable.at_ratio(ratio)
        return tuple(keep * group.repeats for keep, group in zip(keeps, self.prunable.groups, strict=True))


def allocator(prunable: Prunable, costs: CutCosts) -> Allocator:
    """Return the allocator that the scope of ``prunable`` asks for, with budgets in the shares of ``costs``."""
    if prunable.scope == "paths":
        return LagrangianAllocator(costs.choices, costs.share)
    return ThresholdAllocator(prunable, costs.share)
