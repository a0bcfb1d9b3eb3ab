"""The registry of calibration methods, and their interface.

Names are known without PyTorch, which entries need: recipes are read without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edgekd.errors import ModelError
from edgekd.registry import Registry

if TYPE_CHECKING:
    from edgekd.quantize.calibration.histogram import Histogram


class Calibration(Protocol):
    """A function that computes a range (low, high) for the values of a histogram.

    ``low <= 0 <= high``, and ``-low == high`` if symmetric. ``low`` is 0 for an affine range of nonnegative values.
    Both are 0 if all values are.
    """

    def __call__(
        self, histogram: Histogram, quant_min: int, quant_max: int, symmetric: bool
    ) -> tuple[float, float]: ...


CALIBRATIONS: Registry[Calibration] = Registry("calibration method", ModelError)


@CALIBRATIONS.late("minmax")
def _minmax() -> Calibration:
    from edgekd.quantize.calibration.minmax import minmax

    return minmax


@CALIBRATIONS.late("percentile")
def _percentile() -> Calibration:
    from edgekd.quantize.calibration.percentile import percentile

    return percentile


@CALIBRATIONS.late("mse")
def _mse() -> Calibration:
    from edgekd.quantize.calibration.mse import mse

    return mse


@CALIBRATIONS.late("entropy")
def _entropy() -> Calibration:
    from edgekd.quantize.calibration.entropy import entropy

    return entropy
