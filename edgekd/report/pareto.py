"""The Pareto front: points that no other one beats in both cost and worth."""

from collections.abc import Sequence

from edgekd.report.schema import Row


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the positions of the points (cost, worth) that no other one dominates, the cheapest first."""
    best, found = float("-inf"), []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if points[place][1] > best:
            best = points[place][1]
            found.append(place)
    return found


def fronts(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the fronts of accuracy against median latency, one for each runtime, device and number of threads."""
    places: dict[tuple[object, ...], list[tuple[Row, float, float]]] = {}
    for row in rows:
        if row.accuracy is not None and row.latency_ms is not None:
            place = (row.runtime, row.device, row.threads)
            places.setdefault(place, []).append((row, row.latency_ms.p50, row.accuracy))
    return [[timed[at][0] for at in front([(cost, worth) for _, cost, worth in timed])] for timed in places.values()]
