"""Widths by one threshold for all scores."""

from collections.abc import Callable

from edgekd.prune.prunable import Prunable
from edgekd.prune.search import Widths

BISECTIONS = 16


class Thresholds:
    """Cuts the channels with the lowest scores of all, as the ``scope`` of ``prunable`` ranks them.

    Args:
        cost: of the network at such widths.
    """

    def __init__(self, prunable: Prunable, cost: Callable[[None, Widths], float]):
        self.prunable, self.cost = prunable, cost

    def cheapest(self) -> Widths:
        """The narrowest that there is."""
        return self._at(1.0)

    def within(self, budget: float) -> Widths | None:
        """The mildest cut that costs at most ``budget``; None where no cut does."""
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
