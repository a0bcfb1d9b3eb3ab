"""A task's drawn test sets: networks that are as good as before, and networks with a planted fault."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgekd.tasks.metric import Metric
from edgekd.tasks.task import Task

Arrays = Mapping[str, NDArray[Any]]
Random = np.random.Generator
Network = TypeVar("Network")
STEPS = 10


@dataclass(frozen=True)
class TestSet:
    """Targets by name, and what a network gives for them, in a form of the task's own."""

    targets: Arrays
    network: Any


@dataclass(frozen=True)
class Simulation:
    """Functions that stand for a task's data and networks.

    Attributes:
        sizes: numbers of samples.
        draw: of (random, samples).
        rounded: of (network, random): by as much as int8, another kernel or another processor moves outputs.
        faults: of (test set, random): a network that is worse, by what it is that makes it so.
        predictions: of a network, for the task's metrics.
    """

    task: Task
    sizes: tuple[int, ...]
    draw: Callable[[Random, int], TestSet]
    rounded: Callable[[Any, Random], Any]
    faults: Mapping[str, Callable[[TestSet, Random], Any]]
    predictions: Callable[[Any], Any]


def worse_by(
    metric: Metric, lost: float, before: Any, change: Callable[[float], Any], targets: Arrays, most: float
) -> float:
    """Return the least strength of ``change``, found by halving up to ``most``, at which the metric lost so much.

    Args:
        before: predictions without the change.
        change: gives the predictions at a strength.
    """
    whole, low, high = metric.evidence(before, targets).value(), 0.0, most
    for _ in range(STEPS):
        middle = (low + high) / 2
        is_enough = metric.drop(whole, metric.evidence(change(middle), targets).value()) >= lost
        low, high = (low, middle) if is_enough else (middle, high)
    return high
