"""The Pareto front: points that no other one beats in both cost and worth."""

from collections.abc import Sequence

from edgekd.report.schema import Row
from edgekd.tasks.metric import Metric


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the positions of the points (cost, worth) that no other one dominates, the cheapest first."""
    best, found = float("-inf"), []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if points[place][1] > best:
            best = points[place][1]
            found.append(place)
    return found


def fronts(rows: Sequence[Row], metric: Metric) -> list[list[Row]]:
    """Return the fronts of a metric against the median cost, one for each runtime, device and number of threads."""
    worth = 1 if metric.better == "higher" else -1
    places: dict[tuple[object, ...], list[tuple[Row, float, float]]] = {}
    for row in rows:
        value = row.figure(metric)
        if value is not None and row.own_ms is not None:
            place = (row.runtime, row.device, row.threads)
            places.setdefault(place, []).append((row, row.own_ms.p50, worth * value))
    return [[timed[at][0] for at in front([each[1:] for each in timed])] for timed in places.values()]
