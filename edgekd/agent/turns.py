"""Turns of several candidates, so that whatever the machine does affects all of them."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

MIN_ROUNDS = 30
OVERTIME = 4

T = TypeVar("T")


def take_turns(
    turns: Mapping[str, Callable[[], T]], seconds: float, min_rounds: int, order: random.Random
) -> dict[str, list[T]]:
    """Call each candidate's turn once a round, in an order drawn anew for each round.

    ``seconds`` is the time for each candidate; it is exceeded for ``min_rounds``, four times at most.
    """
    names = list(turns)
    rounds: dict[str, list[T]] = {name: [] for name in names}
    started, count, budget = perf_counter(), 0, seconds * len(names)
    while True:
        for name in order.sample(names, len(names)):
            rounds[name].append(turns[name]())
        count += 1
        elapsed = perf_counter() - started
        if elapsed >= OVERTIME * budget or (count >= min_rounds and elapsed >= budget):
            return rounds
