"""The registry of calibration methods, and their interface."""

from typing import Protocol

from edgekd.errors import ModelError
from edgekd.quantize.calibration.histogram import Histogram
from edgekd.registry import Registry


class Calibration(Protocol):
    """A function that computes a range (low, high) for the values of a histogram.

    ``low <= 0 <= high``, and ``-low == high`` if symmetric. ``low`` is 0 for an affine range of nonnegative values.
    Both are 0 if all values are.
    """

    def __call__(
        self, histogram: Histogram, quant_min: int, quant_max: int, symmetric: bool
    ) -> tuple[float, float]: ...


CALIBRATIONS: Registry[Calibration] = Registry("calibration method", ModelError)
