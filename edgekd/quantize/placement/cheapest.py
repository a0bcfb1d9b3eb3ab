"""The fastest placement of a network's regions in int8 or in float, as a minimum cut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from edgekd.quantize.placement.regions import Boundary

# Capacities are whole numbers of 32 bits: that of an edge which is never cut, and a bound on the sum of all others.
UNCUT, MOST = 1 << 30, 1 << 29
Edge = tuple[int, int, float]


@dataclass(frozen=True)
class Costs:
    """Milliseconds of each region in int8 and in float, and of converting the activation of each boundary."""

    int8: Sequence[float]
    float32: Sequence[float]
    change: Sequence[float]


def cheapest(boundaries: Sequence[Boundary], costs: Costs) -> list[bool]:
    """Return for each region whether it is in float in the fastest placement.

    An activation is converted once for all who read it in the other type; inputs and outputs of the network are free.
    The placement is exact for these costs, to one part in 2^28 of their sum: it is the minimum cut between regions in
    float and regions in int8 (Greig, Porteous and Seheult 1989). Of placements that are equally fast, it is the one
    with the fewest regions in float.
    """
    count, total = len(costs.int8), sum(costs.int8) + sum(costs.float32) + 2 * sum(costs.change)
    if not total:
        return [False] * count
    edges = _edges(boundaries, costs)
    makers, readers, spent = map(np.array, zip(*edges, strict=True))
    scale = MOST / 2 ** math.ceil(math.log2(total))
    capacities = np.rint(np.minimum(spent * scale, UNCUT)).astype(np.int32)
    size = count + 2 + 2 * len(boundaries)
    graph = csr_array((capacities, (makers, readers)), shape=(size, size))
    left = graph - maximum_flow(graph, count, count + 1).flow
    left.eliminate_zeros()
    in_float = set(breadth_first_order(left, count, return_predecessors=False).tolist())
    return [region in in_float for region in range(count)]


def _edges(boundaries: Sequence[Boundary], costs: Costs) -> list[Edge]:
    """Return edges whose cuts cost what a placement does, from the side of float to that of int8.

    The nodes are the regions, the source, the sink, and two for each boundary: its activation in int8 and in float.
    """
    source, sink = len(costs.int8), len(costs.int8) + 1
    edges: list[Edge] = []
    for region, (int8, float32) in enumerate(zip(costs.int8, costs.float32, strict=True)):
        edges += [(source, region, int8), (region, sink, float32)]
    for place, (boundary, change) in enumerate(zip(boundaries, costs.change, strict=True)):
        in_int8 = sink + 1 + 2 * place
        in_float = in_int8 + 1
        edges += [(boundary.maker, in_int8, change), (in_float, boundary.maker, change)]
        edges += [(in_int8, reader, math.inf) for reader in boundary.readers]
        edges += [(reader, in_float, math.inf) for reader in boundary.readers]
    return edges
