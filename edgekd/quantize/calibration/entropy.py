"""TensorRT's entropy calibration: Migacz, "8-bit Inference with TensorRT" (GTC 2017)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from edgekd.quantize.calibration.histogram import Histogram
from edgekd.quantize.calibration.minmax import minmax

CANDIDATES = 128
FINER = 16
SWEEPS = 3


def divergence(counts: Tensor, start: int, stop: int, levels: int) -> float:
    """Compute KL(P ‖ Q) in nats when the bins ``start`` to ``stop`` are kept and merged into ``levels`` equal groups.

    P counts the values outside in the first and the last occupied bin. Q spreads each group's count, without the
    values outside, evenly over the occupied bins of the group. Infinite if no bin is occupied.

    Args:
        counts: (bins,) float64.
    """
    kept = counts[start:stop]
    occupied = kept > 0
    if not occupied.any():
        return math.inf
    inside = occupied.nonzero().flatten()
    reference = kept.clone()
    # Migacz adds them to the outermost bins; where one of those is empty, Q is zero there and the divergence infinite
    reference[inside[0]] += counts[:start].sum()
    reference[inside[-1]] += counts[stop:].sum()
    group = torch.arange(len(kept)) * levels // len(kept)
    mass = torch.zeros(levels, dtype=torch.float64).index_add_(0, group, kept)
    members = torch.zeros(levels, dtype=torch.float64).index_add_(0, group, occupied.double())
    candidate = (mass / members.clamp(min=1))[group][occupied]
    p, q = reference[occupied] / reference.sum(), candidate / mass.sum()
    return float((p * (p / q).log()).sum())


def entropy(histogram: Histogram, quant_min: int, quant_max: int, symmetric: bool) -> tuple[float, float]:
    """Compute the range that loses the least information when its bins are merged into the type's levels.

    Symmetric ranges are Migacz's, over |x| with the levels of one sign. For an affine range, with all levels, |x| is
    cut in the same way first. Then its two ends move in turn, each to the least divergence given the other. Exact zeros
    are left out: a level always lies on zero, and the peak that ReLU makes there would otherwise shrink the range until
    it had a bin of its own.
    """
    low, high = minmax(histogram, quant_min, quant_max, symmetric)
    if low == high:
        return low, high
    half, width = histogram.bins // 2, histogram.width
    counts = (histogram.magnitudes if symmetric else histogram.counts).double()
    counts[0 if symmetric else half] -= histogram.zeros
    if symmetric:
        _, reach = _magnitudes_kept(counts, (quant_max - quant_min) // 2 + 1)
        bound = min(reach * width, high)
        return -bound, bound
    start, stop = _both_ends(counts, quant_max - quant_min + 1)
    return max((start - half) * width, low), min((stop - half) * width, high)


def _magnitudes_kept(counts: Tensor, levels: int) -> tuple[int, int]:
    return _least_divergent(counts, levels, int(counts.nonzero()[-1]) + 1, lambda reach: (0, reach))


def _both_ends(counts: Tensor, levels: int) -> tuple[int, int]:
    half = len(counts) // 2
    occupied = counts.nonzero().flatten()
    # how far below and above zero
    lowest, highest = max(half - int(occupied[0]), 0), max(int(occupied[-1]) + 1 - half, 0)

    def cut(reach: int) -> tuple[int, int]:
        return half - min(reach, lowest), half + min(reach, highest)

    start, stop = _least_divergent(counts, levels, max(lowest, highest), cut)
    for _ in range(SWEEPS):
        before = (start, stop)
        _, stop = _least_divergent(counts, levels, highest, _from(start, half))
        start, _ = _least_divergent(counts, levels, lowest, _to(stop, half))
        if (start, stop) == before:
            break
    return start, stop


def _from(start: int, zero: int) -> Callable[[int], tuple[int, int]]:
    return lambda reach: (start, zero + reach)


def _to(stop: int, zero: int) -> Callable[[int], tuple[int, int]]:
    return lambda reach: (zero - reach, stop)


def _least_divergent(
    counts: Tensor, levels: int, furthest: int, kept: Callable[[int], tuple[int, int]]
) -> tuple[int, int]:
    """Return the best of ``kept(reach)`` for reaches up to ``furthest``, of those with a bin for each level."""

    def cost(reach: int) -> float:
        start, stop = kept(reach)
        if stop - start < levels and reach < furthest:
            return math.inf
        return divergence(counts, start, stop, levels)

    # from the widest on, which wins ties
    step = max(furthest // CANDIDATES, 1)
    reach = min(range(furthest, -1, -step), key=cost)
    finer = max(step // FINER, 1)
    return kept(min(range(min(reach + step, furthest), max(reach - step, -1), -finer), key=cost))
