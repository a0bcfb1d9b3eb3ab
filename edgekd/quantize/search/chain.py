"""The cheapest way through a chain of segments, each in int8 or in float, with a price for each change between them."""

from collections.abc import Sequence
from dataclasses import dataclass

INT8, FLOAT = 0, 1


@dataclass(frozen=True)
class Costs:
    """Milliseconds of each segment in int8 and in float, and of turning what leaves it from one into the other."""

    int8: Sequence[float]
    float32: Sequence[float]
    change: Sequence[float]


def cheapest(costs: Costs) -> list[bool]:
    """Which segments are in float, by dynamic programming over the chain; its two ends are free.

    Exact for these costs, in time linear in their number.
    """
    own = (costs.int8, costs.float32)
    # best[state]: the time so far with the last segment in ``state``, and the states up to it
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for index in range(len(costs.int8)):
        best = [
            min(
                (spent + _turn(costs, states, state, index) + own[state][index], [*states, state])
                for spent, states in best
            )
            for state in (INT8, FLOAT)
        ]
    _, states = min(best)
    return [state == FLOAT for state in states]


def _turn(costs: Costs, states: list[int], state: int, index: int) -> float:
    before = states[-1] if states else FLOAT
    return costs.change[index - 1] if index and before != state else 0.0
