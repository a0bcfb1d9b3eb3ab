"""The cost of a candidate over its teacher's, the same for a search and for its page."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

LATENCY, SIZE, ENERGY = "latency", "size", "energy"


class CandidateCosts(Protocol):
    """Figures that have the costs of a network and of its teacher."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def teacher_size_bytes(self) -> int: ...
    @property
    def macs(self) -> int: ...
    @property
    def teacher_macs(self) -> int: ...
    @property
    def ms(self) -> float | None: ...
    @property
    def teacher_ms(self) -> float | None: ...


def is_timed(objective: str, bounds: Iterable[str]) -> bool:
    """Tell whether times decide: what is made best, or a bound of the budget, of which ``bounds`` are the names.

    Energy is predicted by times, and measured of what could win.
    """
    return objective in (LATENCY, ENERGY) or any(name.startswith(LATENCY) for name in bounds)


def cost_ratio(figures: CandidateCosts, objective: str, timed: bool) -> float:
    """Return the network's cost over the teacher's: time where it is known, else multiply-accumulates; or size."""
    if objective == SIZE or not timed:
        return figures.size_bytes / figures.teacher_size_bytes
    if figures.ms is not None and figures.teacher_ms:
        return figures.ms / figures.teacher_ms
    return figures.macs / figures.teacher_macs


def cost_between(share: float, costs: Mapping[float, float]) -> float:
    """Return the cost at ``share`` on a line of logarithms between the shares that ``costs`` has.

    A smaller share costs no more: where it seems so, its time was not measured any finer.
    """
    shares = sorted(costs)
    values = np.array([max(costs[each], 1e-9) for each in shares])
    values = np.minimum.accumulate(values[::-1])[::-1]
    return float(np.exp(np.interp(np.log(share), np.log(shares), np.log(values))))
