from typing import Protocol

from edgekd.errors import ModelError
from edgekd.quantize.calibration.histogram import Histogram
from edgekd.registry import Registry


class Calibration(Protocol):
    """A range for the values of a histogram: ``low <= 0 <= high``, and ``-low == high`` where symmetric.

    ``low`` is 0 for an affine range of values that are never negative. Both are 0 where all values are.
    """

    def __call__(
        self, histogram: Histogram, quant_min: int, quant_max: int, symmetric: bool
    ) -> tuple[float, float]: ...


CALIBRATIONS: Registry[Calibration] = Registry("calibration method", ModelError)
