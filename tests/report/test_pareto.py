import numpy as np
import pytest

from edgekd.report.pareto import front, fronts
from edgekd.report.schema import Latency, Row
from edgekd.tasks.classification import Classification

(ACCURACY,) = Classification.metrics


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_nothing_dominates(seed: int) -> None:
    points = [(float(cost), float(worth)) for cost, worth in np.random.default_rng(seed).integers(8, size=(30, 2))]
    undominated = {
        (cost, worth)
        for cost, worth in points
        if not any((a <= cost and b >= worth) and (a, b) != (cost, worth) for a, b in points)
    }
    found = [points[place] for place in front(points)]
    assert found == sorted(undominated)


def timed(model: str, ms: float, accuracy: float, threads: int = 1) -> Row:
    latency = Latency(p50=ms, n=9)
    return Row(model=model, runtime="r", precision="p", accuracy=accuracy, latency_ms=latency, threads=threads)


def test_each_place_has_its_own() -> None:
    rows = [timed("a", 2, 0.9), timed("b", 1, 0.8), timed("c", 1.5, 0.7), timed("d", 0.5, 0.99, threads=4)]
    assert [[row.model for row in each] for each in fronts(rows, ACCURACY)] == [["b", "a"], ["d"]]
    assert fronts([Row(model="a", runtime="r", precision="p")], ACCURACY) == []
