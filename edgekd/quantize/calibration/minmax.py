"""Min-max ranges: nothing is clipped, and one outlier costs every other value resolution."""

from edgekd.quantize.calibration.histogram import Histogram


def minmax(histogram: Histogram, quant_min: int, quant_max: int, symmetric: bool) -> tuple[float, float]:
    """Return the range from the smallest to the largest value, widened to contain 0; ±max|x| if ``symmetric``."""
    if symmetric:
        return -histogram.bound, histogram.bound
    return min(histogram.low, 0.0), max(histogram.high, 0.0)
