"""Ranges of the least squared error: Sung et al., "Resiliency of Deep Neural Networks under Quantization" (2015)."""

from collections.abc import Callable

import torch
from torch import Tensor

from edgekd.quantize.calibration.histogram import Histogram
from edgekd.quantize.calibration.minmax import minmax

OCTAVES = 10
PER_OCTAVE = 8
SWEEPS = 4


def squared_error(
    histogram: Histogram, low: Tensor, high: Tensor, quant_min: int, quant_max: int, symmetric: bool
) -> Tensor:
    """Compute the mean of (x − Q(x))² for every candidate range, with each value at the centre of its bin.

    Args:
        low, high: (candidates,), ``low <= 0 < high`` or ``low < 0 <= high``.

    Returns:
        (candidates,) float64, without the error of values within their bins, which is the same for all candidates.
    """
    values, counts = histogram.occupied()
    low, high = low.double()[:, None], high.double()[:, None]
    if symmetric:
        scale, zero_point = torch.maximum(-low, high) / ((quant_max - quant_min) / 2), torch.zeros_like(low)
    else:
        scale = (high - low) / (quant_max - quant_min)
        zero_point = (quant_min - torch.round(low / scale)).clamp(quant_min, quant_max)
    codes = torch.round(values / scale).clamp(quant_min - zero_point, quant_max - zero_point)
    return (codes * scale - values).square() @ counts / counts.sum()


def mse(histogram: Histogram, quant_min: int, quant_max: int, symmetric: bool) -> tuple[float, float]:
    """Compute the range with the least mean squared quantisation error.

    Candidates for an end are 1/1024 of the largest value up to all of it. The two ends of an affine range are searched
    in turn: the error is nearly convex in both, because the clipping error is convex in its end, and the rounding error
    is (high − low)² up to a factor.
    """
    low, high = minmax(histogram, quant_min, quant_max, symmetric)
    if low == high:
        return low, high

    def error(lows: Tensor, highs: Tensor) -> Tensor:
        return squared_error(histogram, lows, highs, quant_min, quant_max, symmetric)

    if symmetric:
        bound = _best_end(high, lambda ends: error(-ends, ends))
        return -bound, bound
    first_low, first_high = low, high
    for _ in range(SWEEPS):
        before = (low, high)
        high = _best_end(first_high, _with_low(error, low))
        low = _best_end(first_low, _with_high(error, high))
        if (low, high) == before:
            break
    return low, high


def _with_low(error: Callable[[Tensor, Tensor], Tensor], low: float) -> Callable[[Tensor], Tensor]:
    return lambda ends: error(torch.full_like(ends, low), ends)


def _with_high(error: Callable[[Tensor, Tensor], Tensor], high: float) -> Callable[[Tensor], Tensor]:
    return lambda ends: error(ends, torch.full_like(ends, high))


def _best_end(largest: float, error: Callable[[Tensor], Tensor]) -> float:
    if largest == 0:
        return 0.0
    coarse = largest * 2.0 ** (-torch.arange(OCTAVES * PER_OCTAVE + 1, dtype=torch.float64) / PER_OCTAVE)
    best = coarse[error(coarse).argmin()]
    step = 1 / PER_OCTAVE
    fine = best * 2.0 ** torch.linspace(-step, step, 33, dtype=torch.float64)
    fine = fine.clamp(-abs(largest), abs(largest))
    return float(fine[error(fine).argmin()])
