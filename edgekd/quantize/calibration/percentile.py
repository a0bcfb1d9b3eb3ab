"""Percentiles: Wu et al., "Integer Quantization for Deep Learning Inference" (2020)."""

import torch
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.quantize.calibration.histogram import Histogram
from edgekd.ranges import Range


def percentile(
    histogram: Histogram, quant_min: int, quant_max: int, symmetric: bool, percentage: float = 99.99
) -> tuple[float, float]:
    """Compute the range that contains ``percentage`` percent of the values.

    Symmetric ranges end at that percentile of |x|. Affine ones leave out as many values at either end; at the upper end
    only if no value is negative, at the lower only if none is positive.

    Args:
        percentage: above 50, at most 100.

    Raises:
        ModelError: ``percentage`` is out of range.
    """
    Range(50, 100, open_low=True).check(ModelError, percentage=percentage)
    kept = percentage / 100
    if symmetric:
        bound = min(_quantile(histogram.magnitudes, kept) * histogram.width, histogram.bound)
        return -bound, bound
    cut = 1 - kept if histogram.low >= 0 or histogram.high <= 0 else (1 - kept) / 2
    low, high = (_value(histogram, fraction) for fraction in (cut, 1 - cut))
    return (0.0 if histogram.low >= 0 else min(low, 0.0)), (0.0 if histogram.high <= 0 else max(high, 0.0))


def _value(histogram: Histogram, fraction: float) -> float:
    value = (_quantile(histogram.counts, fraction) - histogram.bins // 2) * histogram.width
    return min(max(value, histogram.low), histogram.high)


def _quantile(counts: Tensor, fraction: float) -> float:
    """Return the quantile, in bins from the first one's edge."""
    up_to = counts.cumsum(0).double()
    target = fraction * float(up_to[-1])
    index = min(int(torch.searchsorted(up_to, target)), len(counts) - 1)
    below = float(up_to[index] - counts[index])
    return index + (target - below) / max(float(counts[index]), 1.0)
